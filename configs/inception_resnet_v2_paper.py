"""Inception-ResNet-v2 as the paper draws it, with widths that add up.

Szegedy, Ioffe, Vanhoucke and Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2016, arXiv 1602.07261.

ImageNet-1k validation error, top-1 / top-5 %: 19.9 / 4.9 with one 299 crop in the paper, which
leaves out about 1,700 images. A run here is tested on one centre crop.
The smallest images that leave anything are 75x75: digits are enlarged to 80x80.
32,433,928 parameters; 9.258 GMACs per 299x299 image.

  python -m jaxcnn.main --config=configs/inception_resnet_v2_paper.py
  python -m jaxcnn.main --config=configs/inception_resnet_v2_paper.py:imagenet2012
  python -m jaxcnn.main --config=configs/inception_resnet_v2_paper.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/inception_resnet_v2_paper.py:synthetic

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.inception("inception_resnet_v2_paper", dataset)
