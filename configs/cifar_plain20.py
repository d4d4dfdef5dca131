"""Plain-20, ResNet-20 for CIFAR without its shortcuts.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

CIFAR-10: the paper shows the error in curves only, which get worse with depth from 20 to 56 layers,
on the training set, too. CIFAR-100: not in the paper.
269,722 parameters (275,572 with 100 classes); 40.55 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_plain20.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_plain20.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_plain20.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_plain20.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("cifar_plain20", dataset)
