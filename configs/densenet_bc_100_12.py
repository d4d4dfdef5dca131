"""DenseNet-BC of depth 100 and growth rate 12, for CIFAR: bottlenecks, transitions halve the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

CIFAR-10 test error: 4.51 %, whole image, trained with shifts and flips.
CIFAR-100 22.27; without augmentation 5.92, 24.15.
769,162 parameters (800,032 with 100 classes); 0.2879 GMACs per 32x32 image.
Digits: 16x16 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py           # offline digits
  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_bc_100_12.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet_bc_100_12", dataset)
