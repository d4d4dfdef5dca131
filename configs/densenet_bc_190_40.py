"""DenseNet-BC of depth 190 and growth rate 40, for CIFAR: bottlenecks, transitions halve the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016,
arXiv 1608.06993.

CIFAR-10 test error 3.46 %, CIFAR-100 17.18 % in the paper, both with flips and crops of the image
padded by 4; whole images are tested.
25,624,430 parameters (25,821,620 with 100 classes); 9.302 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py            # digits, offline
  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py:svhn       # and the extra images

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.densenet("densenet_bc_190_40", dataset)
