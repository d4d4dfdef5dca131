"""WRN-22-8.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016, arXiv 1605.07146.

CIFAR test error: not in the paper's tables.
17,158,106 parameters; 2.454 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/wrn_22_8.py            # digits, offline
  python -m jaxcnn.main --config=configs/wrn_22_8.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/wrn_22_8.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/wrn_22_8.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/wrn_22_8.py:svhn       # the paper's recipe of WRN-16-8

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.wide_resnet("wrn_22_8", dataset)
