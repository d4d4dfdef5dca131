"""DenseNet of depth 40 and growth rate 12, for CIFAR: no bottlenecks, transitions keep the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016,
arXiv 1608.06993.

CIFAR-10 test error 5.24 %, CIFAR-100 24.42 % in the paper, both with flips and crops of the image
padded by 4; whole images are tested.
1,019,722 parameters (1,060,132 with 100 classes); 264.81 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/densenet_40_12.py            # digits, offline
  python -m jaxcnn.main --config=configs/densenet_40_12.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/densenet_40_12.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/densenet_40_12.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/densenet_40_12.py:svhn       # and the extra images

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.densenet("densenet_40_12", dataset)
