"""WRN-28-10.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016. https://arxiv.org/abs/1605.07146

CIFAR-10 test error: 4.0 %, whole image, trained with shifts and flips.
With dropout 0.3 3.89; CIFAR-100 19.25, 18.85.
36,479,194 parameters; 5.243 GMACs per 32x32 image.
Digits: 8x8 images, 5 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/wide_resnet.py.

  python -m jaxcnn.main --config=configs/wrn_28_10.py           # offline digits
  python -m jaxcnn.main --config=configs/wrn_28_10.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/wrn_28_10.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/wrn_28_10.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("wrn_28_10", dataset)
