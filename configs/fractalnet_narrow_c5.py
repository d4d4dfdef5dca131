"""Narrow FractalNet of 5 columns, 80 convolutions deep.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016.
https://arxiv.org/abs/1605.07648

CIFAR-100 test error: 26.46 %, whole image, heavier augmentation.
10.2M parameters in the paper.
10,184,692 parameters (10,173,082 with 10 classes); 0.2836 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs; drop_path_rate=0.0.
What is the paper's and what is ours: jaxcnn/config/recipes/fractalnet.py.

  python -m jaxcnn.main --config=configs/fractalnet_narrow_c5.py           # offline digits
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c5.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c5.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c5.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("fractalnet_narrow_c5", dataset)
