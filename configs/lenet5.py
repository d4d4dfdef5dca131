"""LeNet-5 as it is taught today: full C3, plain average pools, ReLU, softmax (`lenet5_modern`).

After LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition",
Proceedings of the IEEE, 1998.

MNIST test error 0.95 % in the paper, of its own network (60,000 parameters; none of this form is
published): digits of 28x28 centred in 32x32, no distortions.
61,706 parameters; 0.417 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/lenet5.py            # digits, offline
  python -m jaxcnn.main --config=configs/lenet5.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/lenet5.py:mnist      # passes as in the paper

By a recipe of ours: :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.lenet("lenet5_modern", dataset)
