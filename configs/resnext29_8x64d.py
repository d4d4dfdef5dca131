"""ResNeXt-29 for CIFAR, 8 groups of width 64.

Xie, Girshick, Dollár, Tu and He, "Aggregated Residual Transformations for Deep Neural Networks",
2016, arXiv 1611.05431.

CIFAR-10 / CIFAR-100 test error 3.65 / 17.77 % in the paper, with flips and crops of the image
padded by 4; whole images are tested.
34,426,698 parameters; 5.387 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/resnext29_8x64d.py            # digits, offline
  python -m jaxcnn.main --config=configs/resnext29_8x64d.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/resnext29_8x64d.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/resnext29_8x64d.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnext("resnext29_8x64d", dataset)
