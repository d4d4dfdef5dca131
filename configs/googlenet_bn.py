"""GoogLeNet with batch normalisation instead of LRN and biases.

Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842.

ImageNet-1k validation error: no published figure. A run here is tested on 144 crops.
7,005,832 parameters; 1.583 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/googlenet_bn.py               # digits, offline
  python -m jaxcnn.main --config=configs/googlenet_bn.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/googlenet_bn.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/googlenet_bn.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.googlenet("googlenet_bn", dataset)
