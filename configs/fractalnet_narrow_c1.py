"""Narrow FractalNet of 1 column, 5 convolutions deep.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016.
https://arxiv.org/abs/1605.07648

CIFAR-100 test error: 37.32 %, whole image, heavier augmentation.
0.3M parameters in the paper.
258,292 parameters (246,682 with 10 classes); 0.004584 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs; drop_path_rate=0.0.
What is the paper's and what is ours: jaxcnn/config/recipes/fractalnet.py.

  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py           # offline digits
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("fractalnet_narrow_c1", dataset)
