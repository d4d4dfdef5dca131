"""AlexNet as torchvision has it: one tower of 64, 192, 384, 256, 256 maps, no LRN.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014, arXiv
1404.5997.

ImageNet-1k validation error, top-1 / top-5 %: 43.48 / 20.93 with one centre crop (torchvision,
another recipe). A run here is tested on one centre crop.
The smallest images that leave anything are 63x63: digits are enlarged to 64x64.
On digits and made-up images the hidden layers have 512 units instead of 4096.
61,100,840 parameters; 714.2 MMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/alexnet_torchvision.py               # digits, offline
  python -m jaxcnn.main --config=configs/alexnet_torchvision.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/alexnet_torchvision.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/alexnet_torchvision.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.alexnet("alexnet_torchvision", dataset)
