"""The Ladder network with its decoder: 100 digits have labels, the others are learnt from without.

Rasmus, Valpola, Honkala, Berglund and Raiko, "Semi-Supervised Learning with Ladder Networks", 2015,
arXiv 1507.02672 (`ladder_mnist_mlp`).

MNIST test error 1.06 % in the paper with 100 labels, 0.84 % with 1,000 and 0.57 % with all.
Digits, 100 of 1,437 labels, test accuracy over three seeds, 95 % t-interval: 95.9 ± 1.4 %, the same
network on the 100 alone 93.0 ± 2.2 %; two minutes of a processor core.
1,538,770 parameters, 3,105,710 with the decoder; 1.5365 MMACs per 28x28 image.

  python -m jaxcnn.main --config=configs/ladder.py            # digits, offline
  python -m jaxcnn.main --config=configs/ladder.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/ladder.py:mnist      # the paper's recipe

By a recipe of ours: :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("ladder", dataset)
