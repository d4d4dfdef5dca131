"""FractalNet of 20 convolutions in the deepest of 3 columns, for CIFAR-100.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals",
2016, arXiv 1605.07648.

CIFAR-100 test error 23.73 % in the paper, with flips and shifts, dropout and drop-path; 23.30
without either. Whole images are tested, with all columns; the deepest alone:
--config.model.overrides.deepest_column=True. Digits take minutes of a laptop:
fractalnet_narrow_c3 is the one to try.
33,770,788 parameters (33,724,618 with ten classes); 845.27 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py            # digits, offline
  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py:cifar10    # the same
  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py:cifar100   # the paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/fractalnet20_cifar100.py:svhn       # the paper's recipe

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.fractalnet("fractalnet20_cifar100", dataset)
