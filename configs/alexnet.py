"""AlexNet: two towers (grouped convolutions), LRN, 227x227 images.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012.

ImageNet-1k validation error, top-1 / top-5 %: 40.7 / 18.2 with ten 224 crops in the paper (one
network). A run here is tested on ten crops.
The smallest images that leave anything are 64x64: digits are enlarged to 64x64.
On digits and made-up images the hidden layers have 512 units instead of 4096.
60,965,224 parameters; 724.4 MMACs per 227x227 image.

  python -m jaxcnn.main --config=configs/alexnet.py               # digits, offline
  python -m jaxcnn.main --config=configs/alexnet.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/alexnet.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/alexnet.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.alexnet("alexnet", dataset)
