"""MobileNet v1 without its five equal 512-wide blocks.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017, arXiv 1704.04861.

ImageNet-1k validation error, top-1 / top-5 %: 34.7 / – with one 224 crop in the paper. A run here
is tested on one centre crop.
2,887,976 parameters; 307.3 MMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/mobilenet_v1_shallow.py               # digits, offline
  python -m jaxcnn.main --config=configs/mobilenet_v1_shallow.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_shallow.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/mobilenet_v1_shallow.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.mobilenet("mobilenet_v1_shallow", dataset)
