"""Convolutional highway network of 19 layers for CIFAR-100.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks", 2015, arXiv 1507.06228.

CIFAR-100 test error 32.39 % in the paper, with flips and crops of the image padded by 8; whole
images are tested.
2,265,928 parameters (2,256,838 with ten classes); 330.84 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/highway_cifar100.py            # digits, offline
  python -m jaxcnn.main --config=configs/highway_cifar100.py:cifar10    # the same
  python -m jaxcnn.main --config=configs/highway_cifar100.py:cifar100   # the paper's recipe
  python -m jaxcnn.main --config=configs/highway_cifar100.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.highway("highway_cifar100", dataset)
