"""MobileNet v1, width 0.25.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017. https://arxiv.org/abs/1704.04861

ImageNet-1k val error, top-1: 49.4 % at 224 (52.3 % at 192, 54.5 % at 160, 58.5 % at 128), 1 crop.
Released weights 50.2 / 25.8.
A run here is tested on one centre crop.
470,072 parameters; 0.04103 GMACs per 224x224 image.
Digits: 64x64 images, 30 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/mobilenet.py.

  python -m jaxcnn.main --config=configs/mobilenet_v1_025.py               # offline digits
  python -m jaxcnn.main --config=configs/mobilenet_v1_025.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_025.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("mobilenet_v1_025", dataset)
