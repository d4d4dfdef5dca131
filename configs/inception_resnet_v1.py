"""Inception-ResNet-v1.

Szegedy, Ioffe, Vanhoucke and Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", 2016. https://arxiv.org/abs/1602.07261

ImageNet-1k val error, top-1 / top-5: 21.3 / 5.5 %, 1 crop, without 1,700 excluded images.
A run here is tested on one centre crop.
22,756,328 parameters (26,099,408 with the auxiliary heads, which only train); 6.206 GMACs per
299x299 image. Images of 75x75 or larger.
Digits: 96x96 images, 8 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/inception_v4.py.

  python -m jaxcnn.main --config=configs/inception_resnet_v1.py               # offline digits
  python -m jaxcnn.main --config=configs/inception_resnet_v1.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/inception_resnet_v1.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("inception_resnet_v1", dataset)
