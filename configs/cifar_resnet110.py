"""ResNet-110 for CIFAR, shortcut A (identity, zero channels).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

CIFAR-10 test error: 6.43 %, whole image, trained with shifts and flips.
Best of 5 runs; 6.61 ± 0.16; CIFAR-100 is not in the paper.
1,727,962 parameters (1,733,812 with 100 classes); 0.2529 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/cifar_resnet110.py           # offline digits
  python -m jaxcnn.main --config=configs/cifar_resnet110.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet110.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("cifar_resnet110", dataset)
