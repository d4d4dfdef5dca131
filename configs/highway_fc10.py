"""Fully connected highway network of 10 hidden layers of 50.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks", 2015, arXiv 1507.06228.

From the paper's study of depth on MNIST, which shows training losses and no test errors. The plain
twin of 71 units (102,463 parameters) is `--config.model.overrides.highway=False`.
85,660 parameters; 84.7 kMACs per 28x28 image.

  python -m jaxcnn.main --config=configs/highway_fc10.py            # digits, offline
  python -m jaxcnn.main --config=configs/highway_fc10.py:synthetic  # made-up images

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.highway("highway_fc10", dataset)
