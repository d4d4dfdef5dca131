"""ResNet-1202 for CIFAR, trained with stochastic depth: linear decay to a survival of 0.5.

Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", 2016, arXiv
1603.09382.

CIFAR-10 test error 4.91 % in the paper, with flips and crops of the image padded by 4; whole images
are tested. CIFAR-100: not in the paper.
19,421,274 parameters (19,427,124 with 100 classes); 2.829 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py            # digits, offline
  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py:svhn       # that of 152 layers

By a recipe of ours: :mnist and :fashion_mnist.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.stochastic_depth("cifar_resnet1202_sd", dataset)
