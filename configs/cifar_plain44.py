"""Plain-44, ResNet-44 for CIFAR without its shortcuts.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

CIFAR-10 test error: none is published.
No shortcuts; the paper shows curves only: the error grows with the depth from 20 to 56 layers, on
the training set, too; CIFAR-100 is not in the paper.
658,586 parameters (664,436 with 100 classes); 0.09717 GMACs per 32x32 image.
Digits: 32x32 images, 20 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/cifar_plain44.py           # offline digits
  python -m jaxcnn.main --config=configs/cifar_plain44.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_plain44.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("cifar_plain44", dataset)
