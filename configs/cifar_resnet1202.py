"""ResNet-1202 for CIFAR, shortcut A (identity, zero channels).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

CIFAR-10 test error 7.93 % in the paper (more than with 110 layers, which it puts down to
overfitting), with flips and crops of the image padded by 4; whole images are tested. CIFAR-100: not
in the paper.
19,421,274 parameters (19,427,124 with 100 classes); 2.829 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_resnet1202.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_resnet1202.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet1202.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_resnet1202.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("cifar_resnet1202", dataset)
