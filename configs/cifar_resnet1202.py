"""ResNet-1202 for CIFAR, shortcut A (identity, zero channels).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

CIFAR-10 test error: 7.93 %, whole image, trained with shifts and flips.
More than with 110 layers, which the paper puts down to overfitting; CIFAR-100 is not in the paper.
19,421,274 parameters (19,427,124 with 100 classes); 2.829 GMACs per 32x32 image.
Digits: 8x8 images, 8 epochs; scan_units=True, zero_init_last=True.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/cifar_resnet1202.py           # offline digits
  python -m jaxcnn.main --config=configs/cifar_resnet1202.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet1202.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("cifar_resnet1202", dataset)
