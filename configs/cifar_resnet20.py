"""ResNet-20 for CIFAR, shortcut A (identity, zero channels).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

CIFAR-10 test error 8.75 % in the paper, with flips and crops of the image padded by 4; whole images
are tested. CIFAR-100: not in the paper.
269,722 parameters (275,572 with 100 classes); 40.55 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_resnet20.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_resnet20.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet20.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_resnet20.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("cifar_resnet20", dataset)
