"""ResNet-44 for CIFAR, shortcut A (identity, zero channels).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

CIFAR-10 test error: 7.17 %, whole image, trained with shifts and flips.
CIFAR-100 is not in the paper.
658,586 parameters (664,436 with 100 classes); 0.09717 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/cifar_resnet44.py           # offline digits
  python -m jaxcnn.main --config=configs/cifar_resnet44.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet44.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("cifar_resnet44", dataset)
