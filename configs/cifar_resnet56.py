"""ResNet-56 for CIFAR, shortcut A (identity, zero channels).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

CIFAR-10 test error 6.97 % in the paper, with flips and crops of the image padded by 4; whole images
are tested. CIFAR-100: not in the paper.
853,018 parameters (858,868 with 100 classes); 125.49 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_resnet56.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_resnet56.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet56.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_resnet56.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("cifar_resnet56", dataset)
