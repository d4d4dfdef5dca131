"""FractalNet of 20 convolutions in the deepest of 3 columns, for CIFAR-100.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016.
https://arxiv.org/abs/1605.07648

CIFAR-100 test error: 23.73 %, whole image, trained with shifts and flips, dropout and drop-path.
Without either 23.30; unaugmented 28.20, without either 35.34.
33,770,788 parameters (33,724,618 with 10 classes); 0.8453 GMACs per 32x32 image.
Digits: 32x32 images, 6 epochs; drop_path_rate=0.0, dropout_rates=(0.0, 0.0, 0.0, 0.0, 0.0).
What is the paper's and what is ours: jaxcnn/config/recipes/fractalnet.py.

  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py           # offline digits
  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("fractalnet20_cifar100", dataset)
