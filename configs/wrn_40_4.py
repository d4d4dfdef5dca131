"""WRN-40-4.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016, arXiv 1605.07146.

CIFAR-10 / CIFAR-100 test error 4.53 / 21.18 % in the paper, with flips and crops of the image
padded by 4; whole images are tested.
8,949,210 parameters; 1.299 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/wrn_40_4.py            # digits, offline
  python -m jaxcnn.main --config=configs/wrn_40_4.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/wrn_40_4.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/wrn_40_4.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/wrn_40_4.py:svhn       # the paper's recipe of WRN-16-8

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.wide_resnet("wrn_40_4", dataset)
