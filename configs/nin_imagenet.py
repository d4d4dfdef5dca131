"""Network in Network for ImageNet.

Lin, Chen and Yan, "Network In Network", 2013, arXiv 1312.4400.

ImageNet-1k validation error, top-1 %: 40.64 of the author's weights, one centre crop. The paper has
no figure. A run here is tested on one centre crop.
7,595,176 parameters; 1.100 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/nin_imagenet.py               # digits, offline
  python -m jaxcnn.main --config=configs/nin_imagenet.py:imagenet2012  # the author's recipe
  python -m jaxcnn.main --config=configs/nin_imagenet.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/nin_imagenet.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.nin("nin_imagenet", dataset)
