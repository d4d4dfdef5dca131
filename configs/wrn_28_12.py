"""WRN-28-12.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016, arXiv 1605.07146.

CIFAR test error: not in the paper's tables.
52,517,850 parameters; 7.544 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/wrn_28_12.py            # digits, offline
  python -m jaxcnn.main --config=configs/wrn_28_12.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/wrn_28_12.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/wrn_28_12.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/wrn_28_12.py:svhn       # the paper's recipe of WRN-16-8

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.wide_resnet("wrn_28_12", dataset)
