"""Convolutional highway network of 10 layers and 32 maps for MNIST.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks", 2015, arXiv 1507.06228.

MNIST test error 0.55 % in the paper.
151,690 parameters; 31.65 MMACs per 28x28 image.

  python -m jaxcnn.main --config=configs/highway_mnist_w32.py            # digits, offline
  python -m jaxcnn.main --config=configs/highway_mnist_w32.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/highway_mnist_w32.py:mnist      # the authors' code

By a recipe of ours: :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.highway("highway_mnist_w32", dataset)
