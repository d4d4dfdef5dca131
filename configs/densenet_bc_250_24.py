"""DenseNet-BC of depth 250 and growth rate 24, for CIFAR: bottlenecks, transitions halve the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

CIFAR-10 test error: 3.62 %, whole image, trained with shifts and flips.
CIFAR-100 17.60; without augmentation 5.19, 19.64.
15,324,406 parameters (15,480,556 with 100 classes); 5.419 GMACs per 32x32 image.
Digits: 8x8 images, 5 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet_bc_250_24.py           # offline digits
  python -m jaxcnn.main --config=configs/densenet_bc_250_24.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_bc_250_24.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_bc_250_24.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet_bc_250_24", dataset)
