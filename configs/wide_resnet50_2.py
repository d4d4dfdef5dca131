"""Wide ResNet-50-2: bottlenecks of twice the width.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016, arXiv 1605.07146.

ImageNet-1k validation error, top-1 / top-5 %: 21.9 / 6.03 with one centre crop. A run here is
tested on one centre crop.
68,883,240 parameters; 11.398 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/wide_resnet50_2.py               # digits, offline
  python -m jaxcnn.main --config=configs/wide_resnet50_2.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/wide_resnet50_2.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/wide_resnet50_2.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.wide_resnet("wide_resnet50_2", dataset)
