"""Convolutional highway network of 19 layers for CIFAR-10.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks", 2015, arXiv 1507.06228.

CIFAR-10 test error 7.72 % in the paper, with flips and crops of the image padded by 8; whole images
are tested.
2,256,838 parameters (2,265,928 with 100 classes); 330.83 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/highway_cifar10.py            # digits, offline
  python -m jaxcnn.main --config=configs/highway_cifar10.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/highway_cifar10.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/highway_cifar10.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.highway("highway_cifar10", dataset)
