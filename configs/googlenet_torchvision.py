"""GoogLeNet as torchvision (after TF-slim) has it: BN, 3x3 where the paper has 5x5.

Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842.

ImageNet-1k validation error, top-1 / top-5 %: 30.22 / 10.47 with one centre crop (torchvision,
weights of Caffe's recipe). A run here is tested on one centre crop.
6,624,904 parameters; 1.498 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/googlenet_torchvision.py               # digits, offline
  python -m jaxcnn.main --config=configs/googlenet_torchvision.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/googlenet_torchvision.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/googlenet_torchvision.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.googlenet("googlenet_torchvision", dataset)
