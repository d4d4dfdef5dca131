"""Deeply-Supervised Net for CIFAR: Network in Network with three companion classifiers.

Lee, Xie, Gallagher, Zhang and Tu, "Deeply-Supervised Nets", 2014, arXiv 1409.5185.

CIFAR-10 test error 9.69 % in the paper without augmentation, which is what is run here, and 7.97 %
with shifts and flips; CIFAR-100 34.57 %. Whole images are tested.
966,986 parameters (3,547,496 with the companions, which only train); 222.49 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/dsn_cifar10.py            # digits, offline
  python -m jaxcnn.main --config=configs/dsn_cifar10.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/dsn_cifar10.py:cifar100   # the same, with softmax
  python -m jaxcnn.main --config=configs/dsn_cifar10.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/dsn_cifar10.py:svhn       # the same, with softmax

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.dsn("dsn_cifar10", dataset)
