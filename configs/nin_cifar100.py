"""Network in Network for CIFAR-100.

Lin, Chen and Yan, "Network In Network", 2013, arXiv 1312.4400.

CIFAR-100 test error 35.68 % in the paper, without augmentation. Whole images are tested.
984,356 parameters (966,986 with ten classes); 223.59 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/nin_cifar100.py            # digits, offline
  python -m jaxcnn.main --config=configs/nin_cifar100.py:cifar10    # the same
  python -m jaxcnn.main --config=configs/nin_cifar100.py:cifar100   # the paper's recipe
  python -m jaxcnn.main --config=configs/nin_cifar100.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.nin("nin_cifar100", dataset)
