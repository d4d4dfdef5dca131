"""AlexNet of the "one weird trick": one tower of 64, 192, 384, 384, 256 maps, no LRN.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, arXiv
1404.5997.

ImageNet-1k validation error: no published figure. A run here is tested on ten crops.
The smallest images that leave anything are 63x63: digits are enlarged to 64x64.
On digits and made-up images the hidden layers have 512 units instead of 4096.
61,838,248 parameters; 838.8 MMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/alexnet_owt.py               # digits, offline
  python -m jaxcnn.main --config=configs/alexnet_owt.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/alexnet_owt.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/alexnet_owt.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.alexnet("alexnet_owt", dataset)
