"""Narrow FractalNet of 3 columns, 20 convolutions deep.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals",
2016, arXiv 1605.07648.

CIFAR-100 test error 27.69 % in the paper, with heavier augmentation than the flips and shifts here.
Whole images are tested, with all columns; the deepest alone:
--config.model.overrides.deepest_column=True.
2,125,204 parameters (2,113,594 with ten classes); 53.83 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/fractalnet_narrow_c3.py            # digits, offline
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c3.py:cifar10    # the same
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c3.py:cifar100   # the paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c3.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/fractalnet_narrow_c3.py:svhn       # of fractalnet20

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.fractalnet("fractalnet_narrow_c3", dataset)
