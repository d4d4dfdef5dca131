"""DenseNet of depth 100 and growth rate 12, for CIFAR: no bottlenecks, transitions keep the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

CIFAR-10 test error: 4.1 %, whole image, trained with shifts and flips.
CIFAR-100 20.20; without augmentation 5.77, 23.79.
6,979,642 parameters (7,084,852 with 100 classes); 1.770 GMACs per 32x32 image.
Digits: 8x8 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet_100_12.py           # offline digits
  python -m jaxcnn.main --config=configs/densenet_100_12.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_100_12.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_100_12.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet_100_12", dataset)
