"""LeNet-5 as published: C3 by its table, trainable subsampling, fixed codes (`lenet5`).

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE, 1998.

MNIST test error 0.95 % in the paper, 0.8 % with distorted digits: 28x28 pixels centred in 32x32.
`--config.loss.name=rbf_mse` is the paper's first criterion, without the competition of the classes.
60,000 parameters; 0.327 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/lenet5_1998.py            # digits, offline
  python -m jaxcnn.main --config=configs/lenet5_1998.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/lenet5_1998.py:mnist      # passes as in the paper

By a recipe of ours: :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.lenet("lenet5", dataset)
