"""The convolutional Γ-model: a Ladder network with the cost of its top alone.

Rasmus, Valpola, Honkala, Berglund and Raiko, "Semi-Supervised Learning with Ladder Networks", 2015,
arXiv 1507.02672.

CIFAR-10 test error 20.40 % in the paper with 4,000 labels, of images whose contrast is normalised
and which are whitened; 23.33 % without the unlabelled images.
1,369,748 parameters, 1,369,848 with the decoder; 404.35 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/ladder_conv_large_gamma.py            # digits, offline
  python -m jaxcnn.main --config=configs/ladder_conv_large_gamma.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/ladder_conv_large_gamma.py:synthetic  # made-up images
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("ladder_conv_large_gamma", dataset)
