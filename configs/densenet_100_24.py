"""DenseNet of depth 100 and growth rate 24, for CIFAR: no bottlenecks, transitions keep the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

CIFAR-10 test error: 3.74 %, whole image, trained with shifts and flips.
CIFAR-100 19.25; without augmentation 5.83, 23.42.
27,249,082 parameters (27,457,972 with 100 classes); 6.889 GMACs per 32x32 image.
Digits: 8x8 images, 5 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet_100_24.py           # offline digits
  python -m jaxcnn.main --config=configs/densenet_100_24.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_100_24.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_100_24.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet_100_24", dataset)
