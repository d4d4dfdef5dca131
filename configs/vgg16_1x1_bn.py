"""VGG-16 with 1x1 convolutions (net C) and batch normalisation.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.
https://arxiv.org/abs/1409.1556

ImageNet-1k val error: none is published.
A run here is tested on one centre crop.
133,647,400 parameters; 11.77 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs; hidden_features=(512, 512).
What is the paper's and what is ours: jaxcnn/config/recipes/vgg.py.

  python -m jaxcnn.main --config=configs/vgg16_1x1_bn.py               # offline digits
  python -m jaxcnn.main --config=configs/vgg16_1x1_bn.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/vgg16_1x1_bn.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("vgg16_1x1_bn", dataset)
