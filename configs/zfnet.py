"""ZFNet: AlexNet in one tower with 7x7/2 and 5x5/2 first, contrast normalised behind the pools.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013.
https://arxiv.org/abs/1311.2901

ImageNet-1k val error, top-1 / top-5: 38.4 / 16.5 %, 10 crops.
7x7/2 and 5x5/2 first, contrast normalised behind the pools; errors of one network, not of an
ensemble.
A run here is tested on ten crops.
62,357,608 parameters; 1.168 GMACs per 224x224 image.
Digits: 64x64 images, 8 epochs; hidden_features=(512, 512), kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/zfnet.py.

  python -m jaxcnn.main --config=configs/zfnet.py               # offline digits
  python -m jaxcnn.main --config=configs/zfnet.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/zfnet.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("zfnet", dataset)
