"""ZFNet with 512, 1024 and 512 maps in the last three convolutions.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013.
https://arxiv.org/abs/1311.2901

ImageNet-1k val error, top-1 / top-5: 37.5 / 16.0 %, 10 crops.
512, 1024 and 512 maps in the last three convolutions; errors of one network, not of an ensemble.
A run here is tested on ten crops.
107,627,624 parameters; 2.477 GMACs per 224x224 image.
Digits: 64x64 images, 8 epochs; hidden_features=(512, 512), kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/zfnet.py.

  python -m jaxcnn.main --config=configs/zfnet_wide.py               # offline digits
  python -m jaxcnn.main --config=configs/zfnet_wide.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/zfnet_wide.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("zfnet_wide", dataset)
