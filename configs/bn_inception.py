"""BN-Inception, the paper's branch widths (608 maps where its table prints 576).

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift", 2015, arXiv 1502.03167.

ImageNet-1k validation error, top-1 / top-5 %: 25.2 / 7.82 with one 224 crop in the paper, 21.99 /
5.82 with 144. A run here is tested on one centre crop.
11,285,224 parameters; 2.033 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/bn_inception.py               # digits, offline
  python -m jaxcnn.main --config=configs/bn_inception.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/bn_inception.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/bn_inception.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.bn_inception("bn_inception", dataset)
