"""ResNet-110 for CIFAR, trained with stochastic depth: linear decay to a survival of 0.5.

Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", 2016, arXiv
1603.09382.

CIFAR-10 test error 5.25 % in the paper, CIFAR-100 24.98 % (constant depth: 6.41 and 27.76), with
flips and crops of the image padded by 4; whole images are tested. A later version of the paper has
5.23 and 24.58 %.
1,727,962 parameters (1,733,812 with 100 classes); 252.89 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py:svhn       # that of 152 layers

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.stochastic_depth("cifar_resnet110_sd", dataset)
