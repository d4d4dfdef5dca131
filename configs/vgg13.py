"""VGG-13, net B.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
arXiv 1409.1556.

ImageNet-1k validation error, top-1 / top-5 %: 28.7 / 9.9, dense evaluation at one scale (S = Q =
256) in the paper. A run here is tested densely, at Q = 256.
On digits and made-up images the hidden layers have 512 units instead of 4096.
133,047,848 parameters; 11.308 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/vgg13.py               # digits, offline
  python -m jaxcnn.main --config=configs/vgg13.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/vgg13.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/vgg13.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.vgg("vgg13", dataset)
