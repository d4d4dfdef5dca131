"""GoogLeNet: LRN, two auxiliary heads in training.

Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv 1409.4842.

ImageNet-1k validation error, top-1 / top-5 %: – / 10.07 with one crop and one network in the paper
(9.15 with ten crops, 7.89 with 144). A run here is tested on 144 crops.
6,998,552 parameters (13,378,280 with the auxiliary heads); 1.583 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/googlenet.py               # digits, offline
  python -m jaxcnn.main --config=configs/googlenet.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/googlenet.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/googlenet.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.googlenet("googlenet", dataset)
