"""VGG-13 (net B) with batch normalisation.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
arXiv 1409.1556.

ImageNet-1k validation error, top-1 / top-5 %: 28.41 / 9.63 with one centre crop (torchvision,
another recipe). A run here is tested on one centre crop.
On digits and made-up images the hidden layers have 512 units instead of 4096.
133,053,736 parameters; 11.308 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/vgg13_bn.py               # digits, offline
  python -m jaxcnn.main --config=configs/vgg13_bn.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/vgg13_bn.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/vgg13_bn.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.vgg("vgg13_bn", dataset)
