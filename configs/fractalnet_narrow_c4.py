"""Narrow FractalNet of 4 columns, 40 convolutions deep.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016.
https://arxiv.org/abs/1605.07648

CIFAR-100 test error: 27.38 %, whole image, heavier augmentation.
4.8M parameters in the paper.
4,778,820 parameters (4,767,210 with 10 classes); 0.1286 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs; drop_path_rate=0.0.
What is the paper's and what is ours: jaxcnn/config/recipes/fractalnet.py.

  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py           # offline digits
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("fractalnet_narrow_c4", dataset)
