"""VGG-16 (net D) with batch normalisation.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
arXiv 1409.1556.

ImageNet-1k validation error, top-1 / top-5 %: 26.64 / 8.48 with one centre crop (torchvision,
another recipe). A run here is tested on one centre crop.
On digits and made-up images the hidden layers have 512 units instead of 4096.
138,365,992 parameters; 15.470 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/vgg16_bn.py               # digits, offline
  python -m jaxcnn.main --config=configs/vgg16_bn.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/vgg16_bn.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/vgg16_bn.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.vgg("vgg16_bn", dataset)
