"""Narrow FractalNet of 1 column, 5 convolutions deep.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals",
2016, arXiv 1605.07648.

CIFAR-100 test error 37.32 % in the paper, with heavier augmentation than the flips and shifts here.
Whole images are tested.
258,292 parameters (246,682 with ten classes); 4.58 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py            # digits, offline
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py:cifar10    # the same
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py:cifar100   # the paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c1.py:svhn       # of fractalnet20

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.fractalnet("fractalnet_narrow_c1", dataset)
