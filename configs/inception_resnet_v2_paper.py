"""Inception-ResNet-v2 as the paper draws it, with widths that add up.

Szegedy, Ioffe, Vanhoucke and Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2016. https://arxiv.org/abs/1602.07261

ImageNet-1k val error, top-1 / top-5: 19.9 / 4.9 %, 1 crop, without 1,700 excluded images.
The figures' widths made consistent: 384, 1152, 2144.
A run here is tested on one centre crop.
32,433,928 parameters (35,809,776 with the auxiliary heads, which only train); 9.258 GMACs per
299x299 image. Images of 75x75 or larger.
Digits: 80x80 images, 8 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/inception_v4.py.

  python -m jaxcnn.main --config=configs/inception_resnet_v2_paper.py               # offline digits
  python -m jaxcnn.main --config=configs/inception_resnet_v2_paper.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/inception_resnet_v2_paper.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("inception_resnet_v2_paper", dataset)
