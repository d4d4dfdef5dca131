"""ResNet-1202 for CIFAR, trained with stochastic depth: linear decay to a survival of 0.5.

Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", 2016.
https://arxiv.org/abs/1603.09382

CIFAR-10 test error: 4.91 %, whole image, trained with shifts and flips.
CIFAR-100 is not in the paper.
19,421,274 parameters (19,427,124 with 100 classes); 2.829 GMACs per 32x32 image.
Digits: 8x8 images, 8 epochs; scan_units=True, zero_init_last=True.
What is the paper's and what is ours: jaxcnn/config/recipes/stochastic_depth.py.

  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py           # offline digits
  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet1202_sd.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("cifar_resnet1202_sd", dataset)
