"""DenseNet-BC of depth 100 and growth rate 12, for CIFAR: bottlenecks, transitions halve the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016,
arXiv 1608.06993.

CIFAR-10 test error 4.51 %, CIFAR-100 22.27 % in the paper, both with flips and crops of the image
padded by 4; whole images are tested.
769,162 parameters (800,032 with 100 classes); 287.93 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py            # digits, offline
  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py:svhn       # and the extra images

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.densenet("densenet_bc_100_12", dataset)
