"""Plain-32, ResNet-32 for CIFAR without its shortcuts.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

CIFAR-10: the paper shows the error in curves only, which get worse with depth from 20 to 56 layers,
on the training set, too. CIFAR-100: not in the paper.
464,154 parameters (470,004 with 100 classes); 68.86 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_plain32.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_plain32.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_plain32.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_plain32.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("cifar_plain32", dataset)
