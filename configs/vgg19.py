"""VGG-19, net E.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.
https://arxiv.org/abs/1409.1556

ImageNet-1k val error, top-1 / top-5: 25.5 / 8.0 %, dense at 384, trained at 256 to 512.
27.3 / 9.0 trained and tested at 256.
A run here is tested densely, at Q = 256.
143,667,240 parameters; 19.63 GMACs per 224x224 image.
Digits: 32x32 images, 20 epochs; hidden_features=(512, 512), kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/vgg.py.

  python -m jaxcnn.main --config=configs/vgg19.py               # offline digits
  python -m jaxcnn.main --config=configs/vgg19.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/vgg19.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("vgg19", dataset)
