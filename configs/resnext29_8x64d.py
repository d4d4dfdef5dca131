"""ResNeXt-29 for CIFAR, 8 groups of width 64.

Xie, Girshick, Dollár, Tu and He, "Aggregated Residual Transformations for Deep Neural Networks",
2016. https://arxiv.org/abs/1611.05431

CIFAR-10 test error: 3.65 %, whole image, trained with shifts and flips.
CIFAR-100 17.77.
34,426,698 parameters; 5.387 GMACs per 32x32 image.
Digits: 8x8 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnext.py.

  python -m jaxcnn.main --config=configs/resnext29_8x64d.py           # offline digits
  python -m jaxcnn.main --config=configs/resnext29_8x64d.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/resnext29_8x64d.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnext29_8x64d", dataset)
