"""WRN-40-4.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016. https://arxiv.org/abs/1605.07146

CIFAR-10 test error: 4.53 %, whole image, trained with shifts and flips.
CIFAR-100 21.18.
8,949,210 parameters; 1.299 GMACs per 32x32 image.
Digits: 16x16 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/wide_resnet.py.

  python -m jaxcnn.main --config=configs/wrn_40_4.py           # offline digits
  python -m jaxcnn.main --config=configs/wrn_40_4.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/wrn_40_4.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/wrn_40_4.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("wrn_40_4", dataset)
