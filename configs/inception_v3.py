"""Inception v3, with its auxiliary head in training.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for Computer
Vision", 2015. https://arxiv.org/abs/1512.00567

ImageNet-1k val error, top-1 / top-5: 21.2 / 5.6 %, 1 crop.
Torchvision counts the auxiliary head, too.
A run here is tested on one centre crop.
23,834,568 parameters (27,161,264 with the auxiliary heads, which only train); 5.713 GMACs per
299x299 image. Images of 75x75 or larger.
Digits: 96x96 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/inception_v3.py.

  python -m jaxcnn.main --config=configs/inception_v3.py               # offline digits
  python -m jaxcnn.main --config=configs/inception_v3.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/inception_v3.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("inception_v3", dataset)
