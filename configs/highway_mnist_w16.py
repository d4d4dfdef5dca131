"""Convolutional highway network of 10 layers and 16 maps for MNIST.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks", 2015, arXiv 1507.06228.

MNIST test error 0.57 % in the paper.
38,986 parameters; 8.03 MMACs per 28x28 image.

  python -m jaxcnn.main --config=configs/highway_mnist_w16.py            # digits, offline
  python -m jaxcnn.main --config=configs/highway_mnist_w16.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/highway_mnist_w16.py:mnist      # the code's of 32 maps

By a recipe of ours: :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.highway("highway_mnist_w16", dataset)
