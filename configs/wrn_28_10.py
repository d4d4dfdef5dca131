"""WRN-28-10.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016, arXiv 1605.07146.

CIFAR-10 / CIFAR-100 test error 4.00 / 19.25 % in the paper (3.89 / 18.85 with dropout:
--config.model.overrides.dropout_rate=0.3), with flips and crops of the image padded by 4; whole
images are tested.
36,479,194 parameters; 5.243 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/wrn_28_10.py            # digits, offline
  python -m jaxcnn.main --config=configs/wrn_28_10.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/wrn_28_10.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/wrn_28_10.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/wrn_28_10.py:svhn       # the paper's recipe of WRN-16-8

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.wide_resnet("wrn_28_10", dataset)
