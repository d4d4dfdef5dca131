"""DenseNet of depth 100 and growth rate 24, for CIFAR: no bottlenecks, transitions keep the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016,
arXiv 1608.06993.

CIFAR-10 test error 3.74 %, CIFAR-100 19.25 % in the paper, both with flips and crops of the image
padded by 4; whole images are tested.
27,249,082 parameters (27,457,972 with 100 classes); 6.889 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/densenet_100_24.py            # digits, offline
  python -m jaxcnn.main --config=configs/densenet_100_24.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/densenet_100_24.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/densenet_100_24.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/densenet_100_24.py:svhn       # and the extra images

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.densenet("densenet_100_24", dataset)
