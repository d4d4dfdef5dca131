"""Convolutional highway network of 10 layers and 16 maps for MNIST.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks", 2015, arXiv 1507.06228.

MNIST test error 0.57 % in the paper. There is no recipe for MNIST here.
38,986 parameters; 8.03 MMACs per 28x28 image.

  python -m jaxcnn.main --config=configs/highway_mnist_w16.py            # digits, offline
  python -m jaxcnn.main --config=configs/highway_mnist_w16.py:synthetic  # made-up images
"""

from jaxcnn import papers


def get_config(dataset="digits"):
    return papers.highway("highway_mnist_w16", dataset)
