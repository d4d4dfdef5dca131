"""Convolutional highway network of 19 layers for CIFAR-100.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks (Highway Networks)", 2015.
https://arxiv.org/abs/1507.06228

CIFAR-100 test error: 32.39 %, whole image, trained with shifts and flips.
2,265,928 parameters (2,256,838 with 10 classes); 0.3308 GMACs per 32x32 image.
Digits: 16x16 images, 16 epochs; kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/highway.py.

  python -m jaxcnn.main --config=configs/highway_cifar100.py           # offline digits
  python -m jaxcnn.main --config=configs/highway_cifar100.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/highway_cifar100.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("highway_cifar100", dataset)
