"""Inception v2 of "Rethinking", a reconstruction: the paper gives no widths.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception Architecture for Computer
Vision", 2015. https://arxiv.org/abs/1512.00567

ImageNet-1k val error, top-1 / top-5: 22.8 / 6.1 %, 1 crop, with RMSProp and label smoothing; top-1
with SGD 23.4.
The paper prints no widths: those of inception_v3, with 3x3 pairs for the 5x5 in the 35x35 modules.
A run here is tested on one centre crop.
23,687,112 parameters (27,013,808 with the auxiliary heads, which only train); 5.533 GMACs per
299x299 image. Images of 75x75 or larger.
Digits: 96x96 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/inception_v3.py.

  python -m jaxcnn.main --config=configs/inception_v2.py               # offline digits
  python -m jaxcnn.main --config=configs/inception_v2.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/inception_v2.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("inception_v2", dataset)
