"""WRN-16-8.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016, arXiv 1605.07146.

CIFAR-10 / CIFAR-100 test error 4.27 / 20.43 % in the paper, with flips and crops of the image
padded by 4; whole images are tested. SVHN 1.54 % with dropout, in the authors' repository.
10,961,370 parameters; 1.548 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/wrn_16_8.py            # digits, offline
  python -m jaxcnn.main --config=configs/wrn_16_8.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/wrn_16_8.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/wrn_16_8.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/wrn_16_8.py:svhn       # the paper's recipe

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.wide_resnet("wrn_16_8", dataset)
