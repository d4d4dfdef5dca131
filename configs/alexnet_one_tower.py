"""AlexNet in one tower: no groups, no LRN.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012.

ImageNet-1k validation error: no published figure. A run here is tested on ten crops.
The smallest images that leave anything are 64x64: digits are enlarged to 64x64.
On digits and made-up images the hidden layers have 512 units instead of 4096.
62,378,344 parameters; 1.135 GMACs per 227x227 image.

  python -m jaxcnn.main --config=configs/alexnet_one_tower.py               # digits, offline
  python -m jaxcnn.main --config=configs/alexnet_one_tower.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/alexnet_one_tower.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/alexnet_one_tower.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.alexnet("alexnet_one_tower", dataset)
