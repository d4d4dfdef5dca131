"""Inception v2 of "Rethinking", a reconstruction: the paper gives no widths.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for Computer
Vision", 2015, arXiv 1512.00567.

ImageNet-1k validation error, top-1 / top-5 %: 22.8 / 6.1 with one 299 crop in the paper (with label
smoothing; 23.4 top-1 with SGD). A run here is tested on one centre crop.
The smallest images that leave anything are 75x75: digits are enlarged to 96x96.
23,687,112 parameters; 5.533 GMACs per 299x299 image.

  python -m jaxcnn.main --config=configs/inception_v2.py               # digits, offline
  python -m jaxcnn.main --config=configs/inception_v2.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/inception_v2.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/inception_v2.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.inception("inception_v2", dataset)
