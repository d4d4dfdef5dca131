"""ResNet-1001 v2 for CIFAR: full pre-activation, bottlenecks.

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027.

CIFAR-10 / CIFAR-100 test error 4.92 / 22.71 % in the paper (median of 5; 4.62 with batches of 64),
with flips and crops of the image padded by 4; whole images are tested.
10,327,706 parameters; 1.488 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_resnet1001_v2.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_resnet1001_v2.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet1001_v2.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_resnet1001_v2.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.preact_resnet("cifar_resnet1001_v2", dataset)
