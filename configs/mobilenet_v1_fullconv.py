"""MobileNet v1 with ordinary convolutions.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017, arXiv 1704.04861.

ImageNet-1k validation error, top-1 / top-5 %: 28.3 / – with one 224 crop in the paper. A run here
is tested on one centre crop.
29,294,088 parameters; 4.867 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/mobilenet_v1_fullconv.py               # digits, offline
  python -m jaxcnn.main --config=configs/mobilenet_v1_fullconv.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_fullconv.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/mobilenet_v1_fullconv.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.mobilenet("mobilenet_v1_fullconv", dataset)
