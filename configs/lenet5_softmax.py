"""LeNet-5 as published but for its output, which is linear for a softmax.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE, 1998.

MNIST test error: none is published of this form (0.95 % of the paper's own).
60,850 parameters; 0.327 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/lenet5_softmax.py            # digits, offline
  python -m jaxcnn.main --config=configs/lenet5_softmax.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/lenet5_softmax.py:mnist      # passes as in the paper

By a recipe of ours: :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.lenet("lenet5_softmax", dataset)
