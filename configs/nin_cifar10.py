"""Network in Network for CIFAR-10.

Lin, Chen and Yan, "Network In Network", 2013, arXiv 1312.4400.

CIFAR-10 test error 10.41 % in the paper without augmentation, which is what is run here, and 8.81 %
with shifts and flips (`--config.data.pad=4 --config.data.flip`). Whole images are tested.
966,986 parameters (984,356 with 100 classes); 222.49 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/nin_cifar10.py            # digits, offline
  python -m jaxcnn.main --config=configs/nin_cifar10.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/nin_cifar10.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/nin_cifar10.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.nin("nin_cifar10", dataset)
