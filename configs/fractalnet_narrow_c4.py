"""Narrow FractalNet of 4 columns, 40 convolutions deep.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals",
2016, arXiv 1605.07648.

CIFAR-100 test error 27.38 % in the paper, with heavier augmentation than the flips and shifts here.
Whole images are tested, with all columns; the deepest alone:
--config.model.overrides.deepest_column=True.
4,778,820 parameters (4,767,210 with ten classes); 128.59 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py            # digits, offline
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py:cifar10    # the same
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py:cifar100   # the paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c4.py:svhn       # of fractalnet20

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.fractalnet("fractalnet_narrow_c4", dataset)
