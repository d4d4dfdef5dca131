"""DenseNet of depth 40 and growth rate 12, for CIFAR: no bottlenecks, transitions keep the width.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

CIFAR-10 test error: 5.24 %, whole image, trained with shifts and flips.
CIFAR-100 24.42; without augmentation 7.00, 27.55.
1,019,722 parameters (1,060,132 with 100 classes); 0.2648 GMACs per 32x32 image.
Digits: 16x16 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet_40_12.py           # offline digits
  python -m jaxcnn.main --config=configs/densenet_40_12.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_40_12.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/densenet_40_12.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet_40_12", dataset)
