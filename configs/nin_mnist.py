"""Network in Network for MNIST.

Lin, Chen and Yan, "Network In Network", 2013, arXiv 1312.4400.

MNIST test error 0.47 % in the paper, without augmentation. It has no rates for MNIST, nor has
the authors' code: rates and lengths are of the code for CIFAR-100.
349,674 parameters; 50.70 MMACs per 28x28 image.

  python -m jaxcnn.main --config=configs/nin_mnist.py            # digits, offline
  python -m jaxcnn.main --config=configs/nin_mnist.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/nin_mnist.py:mnist      # as CIFAR: none is published

By a recipe of ours: :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.nin("nin_mnist", dataset)
