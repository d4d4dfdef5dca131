"""ZFNet: AlexNet in one tower with 7x7/2 and 5x5/2 first, contrast normalised behind the pools.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, arXiv 1311.2901.

ImageNet-1k validation error, top-1 / top-5 %: 38.4 / 16.5 with ten 224 crops in the paper (one
network). A run here is tested on ten crops.
Digits are enlarged to 64x64; there the two hidden layers have 512 units, and the convolutions start
by He's initialisation.
62,357,608 parameters; 1.168 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/zfnet.py               # digits, offline
  python -m jaxcnn.main --config=configs/zfnet.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/zfnet.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/zfnet.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.zfnet("zfnet", dataset)
