"""VGG-16 (net D) with batch normalisation.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.
https://arxiv.org/abs/1409.1556

ImageNet-1k val error, top-1 / top-5: 26.64 / 8.484 %, 1 crop, torchvision's weights.
A run here is tested on one centre crop.
138,365,992 parameters; 15.47 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs; hidden_features=(512, 512).
What is the paper's and what is ours: jaxcnn/config/recipes/vgg.py.

  python -m jaxcnn.main --config=configs/vgg16_bn.py               # offline digits
  python -m jaxcnn.main --config=configs/vgg16_bn.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/vgg16_bn.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("vgg16_bn", dataset)
