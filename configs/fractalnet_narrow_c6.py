"""Narrow FractalNet of 6 columns, 160 convolutions deep.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016.
https://arxiv.org/abs/1605.07648

CIFAR-100 test error: 27.38 %, whole image, heavier augmentation.
21.1M parameters in the paper.
21,095,076 parameters (21,083,466 with 10 classes); 0.5990 GMACs per 32x32 image.
Digits: 32x32 images, 12 epochs; drop_path_rate=0.0.
What is the paper's and what is ours: jaxcnn/config/recipes/fractalnet.py.

  python -m jaxcnn.main --config=configs/fractalnet_narrow_c6.py           # offline digits
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c6.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c6.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c6.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("fractalnet_narrow_c6", dataset)
