"""MobileNet v1, width 0.5.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017. https://arxiv.org/abs/1704.04861

ImageNet-1k val error, top-1: 36.3 % at 224 (38.3 % at 192, 40.9 % at 160, 43.7 % at 128), 1 crop.
Released weights 36.7 / 15.1.
A run here is tested on one centre crop.
1,331,592 parameters; 0.1495 GMACs per 224x224 image.
Digits: 64x64 images, 20 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/mobilenet.py.

  python -m jaxcnn.main --config=configs/mobilenet_v1_050.py               # offline digits
  python -m jaxcnn.main --config=configs/mobilenet_v1_050.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_050.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("mobilenet_v1_050", dataset)
