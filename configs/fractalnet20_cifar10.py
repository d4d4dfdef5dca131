"""FractalNet of 20 convolutions in the deepest of 3 columns, for CIFAR-10.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016.
https://arxiv.org/abs/1605.07648

CIFAR-10 test error: 4.6 %, whole image, trained with shifts and flips, dropout and drop-path.
Without either 5.22; unaugmented 7.33, without either 10.18; the 38.6M parameters quoted elsewhere
are not reproduced.
33,724,618 parameters (33,770,788 with 100 classes); 0.8452 GMACs per 32x32 image.
Digits: 32x32 images, 6 epochs; drop_path_rate=0.0, dropout_rates=(0.0, 0.0, 0.0, 0.0, 0.0).
What is the paper's and what is ours: jaxcnn/config/recipes/fractalnet.py.

  python -m jaxcnn.main --config=configs/fractalnet20_cifar10.py           # offline digits
  python -m jaxcnn.main --config=configs/fractalnet20_cifar10.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet20_cifar10.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet20_cifar10.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("fractalnet20_cifar10", dataset)
