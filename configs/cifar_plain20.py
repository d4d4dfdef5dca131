"""Plain-20, ResNet-20 for CIFAR without its shortcuts.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

CIFAR-10 test error: none is published.
No shortcuts; the paper shows curves only: the error grows with the depth from 20 to 56 layers, on
the training set, too; CIFAR-100 is not in the paper.
269,722 parameters (275,572 with 100 classes); 0.04055 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/cifar_plain20.py           # offline digits
  python -m jaxcnn.main --config=configs/cifar_plain20.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_plain20.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("cifar_plain20", dataset)
