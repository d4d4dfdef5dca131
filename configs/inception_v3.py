"""Inception v3, with its auxiliary head in training.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for Computer
Vision", 2015, arXiv 1512.00567.

ImageNet-1k validation error, top-1 / top-5 %: 21.2 / 5.6 with one 299 crop in the paper. A run here
is tested on one centre crop.
The smallest images that leave anything are 75x75: digits are enlarged to 96x96.
23,834,568 parameters (27,161,264 with the auxiliary head); 5.713 GMACs per 299x299 image.

  python -m jaxcnn.main --config=configs/inception_v3.py               # digits, offline
  python -m jaxcnn.main --config=configs/inception_v3.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/inception_v3.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/inception_v3.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.inception("inception_v3", dataset)
