"""DenseNet-BC of depth 190 and growth rate 40, for CIFAR: bottlenecks, transitions halve the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

CIFAR-10 test error: 3.46 %, whole image, trained with shifts and flips.
CIFAR-100 17.18.
25,624,430 parameters (25,821,620 with 100 classes); 9.302 GMACs per 32x32 image.
Digits: 8x8 images, 5 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py           # offline digits
  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_bc_190_40.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet_bc_190_40", dataset)
