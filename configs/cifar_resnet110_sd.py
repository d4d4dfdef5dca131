"""ResNet-110 for CIFAR, trained with stochastic depth: linear decay to a survival of 0.5.

Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", 2016.
https://arxiv.org/abs/1603.09382

CIFAR-10 test error: 5.25 %, whole image, trained with shifts and flips.
CIFAR-100 24.98; with constant depth 6.41 and 27.76; a later version of the paper has 5.23 and
24.58.
1,727,962 parameters (1,733,812 with 100 classes); 0.2529 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/stochastic_depth.py.

  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py           # offline digits
  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet110_sd.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("cifar_resnet110_sd", dataset)
