"""Inception-ResNet-v2 as its authors released it.

Szegedy, Ioffe, Vanhoucke and Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2016. https://arxiv.org/abs/1602.07261

ImageNet-1k val error, top-1 / top-5: 19.6 / 4.7 %, 1 crop, released weights.
The released network; inception_resnet_v2_paper is the one of the figures; the paper's figures, 19.9
/ 4.9, are of the latter.
A run here is tested on one centre crop.
55,843,464 parameters (59,211,120 with the auxiliary heads, which only train); 13.16 GMACs per
299x299 image. Images of 75x75 or larger.
Digits: 80x80 images, 6 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/inception_v4.py.

  python -m jaxcnn.main --config=configs/inception_resnet_v2.py               # offline digits
  python -m jaxcnn.main --config=configs/inception_resnet_v2.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/inception_resnet_v2.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("inception_resnet_v2", dataset)
