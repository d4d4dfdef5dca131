"""MobileNet v1, width 0.75.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017, arXiv 1704.04861.

ImageNet-1k validation error, top-1 / top-5 %: 31.6 / – with one 224 crop in the paper (32.8 at 192,
34.7 at 160, 37.9 at 128). A run here is tested on one centre crop.
2,585,560 parameters; 325.4 MMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/mobilenet_v1_075.py               # digits, offline
  python -m jaxcnn.main --config=configs/mobilenet_v1_075.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_075.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/mobilenet_v1_075.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.mobilenet("mobilenet_v1_075", dataset)
