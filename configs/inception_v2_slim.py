"""BN-Inception as TF-slim has it ("Inception v2"): separable stem, 576 maps throughout.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift", 2015, arXiv 1502.03167.

ImageNet-1k validation error, top-1 / top-5 %: 26.1 / 8.2 with one centre crop (TF-slim). A run here
is tested on one centre crop.
11,188,288 parameters; 1.935 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/inception_v2_slim.py               # digits, offline
  python -m jaxcnn.main --config=configs/inception_v2_slim.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/inception_v2_slim.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/inception_v2_slim.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.bn_inception("inception_v2_slim", dataset)
