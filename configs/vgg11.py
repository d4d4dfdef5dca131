"""VGG-11, net A.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.
https://arxiv.org/abs/1409.1556

ImageNet-1k val error, top-1 / top-5: 29.6 / 10.4 %, dense at 256.
A run here is tested densely, at Q = 256.
132,863,336 parameters; 7.609 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs; hidden_features=(512, 512), kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/vgg.py.

  python -m jaxcnn.main --config=configs/vgg11.py               # offline digits
  python -m jaxcnn.main --config=configs/vgg11.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/vgg11.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("vgg11", dataset)
