"""MobileNet v1, width 1.0.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017, arXiv 1704.04861.

ImageNet-1k validation error, top-1 / top-5 %: 29.4 / – with one 224 crop in the paper (30.9 at 192,
32.8 at 160, 35.6 at 128). A run here is tested on one centre crop.
4,231,976 parameters; 568.7 MMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/mobilenet_v1.py               # digits, offline
  python -m jaxcnn.main --config=configs/mobilenet_v1.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/mobilenet_v1.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.mobilenet("mobilenet_v1_100", dataset)
