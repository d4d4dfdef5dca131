"""ResNet-110 for CIFAR, shortcut A (identity, zero channels).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

CIFAR-10 test error 6.43 % in the paper (best of 5; mean 6.61, standard deviation 0.16), with flips
and crops of the image padded by 4; whole images are tested. CIFAR-100: not in the paper.
1,727,962 parameters (1,733,812 with 100 classes); 252.89 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_resnet110.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_resnet110.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet110.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_resnet110.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("cifar_resnet110", dataset)
