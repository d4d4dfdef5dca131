"""MobileNet v1, width 0.75.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017. https://arxiv.org/abs/1704.04861

ImageNet-1k val error, top-1: 31.6 % at 224 (32.8 % at 192, 34.7 % at 160, 37.9 % at 128), 1 crop.
Released weights 31.6 / 11.8.
A run here is tested on one centre crop.
2,585,560 parameters; 0.3254 GMACs per 224x224 image.
Digits: 64x64 images, 20 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/mobilenet.py.

  python -m jaxcnn.main --config=configs/mobilenet_v1_075.py               # offline digits
  python -m jaxcnn.main --config=configs/mobilenet_v1_075.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_075.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("mobilenet_v1_075", dataset)
