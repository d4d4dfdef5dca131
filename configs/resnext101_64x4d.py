"""ResNeXt-101, 64 groups of width 4.

Xie, Girshick, Dollár, Tu and He, "Aggregated Residual Transformations for Deep Neural Networks",
2016, arXiv 1611.05431.

ImageNet-1k validation error, top-1 / top-5 %: 20.4 / 5.3 with one 224 crop in the paper (19.1 / 4.4
at 320). A run here is tested on one centre crop.
83,455,272 parameters; 15.460 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnext101_64x4d.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnext101_64x4d.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnext101_64x4d.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnext101_64x4d.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnext("resnext101_64x4d", dataset)
