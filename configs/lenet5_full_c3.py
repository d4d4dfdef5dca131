"""LeNet-5 whose C3 sees every map of S2, S4 a max-pool without parameters, fixed codes.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE, 1998.

MNIST test error: none is published of this form (0.95 % of the paper's own).
60,868 parameters; 0.417 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/lenet5_full_c3.py            # digits, offline
  python -m jaxcnn.main --config=configs/lenet5_full_c3.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/lenet5_full_c3.py:mnist      # passes as in the paper

By a recipe of ours: :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.lenet("lenet5_full_c3", dataset)
