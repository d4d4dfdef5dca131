"""ZFNet as known from Keras code: other padding, no contrast normalisation, U(±0.05).

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013.
https://arxiv.org/abs/1311.2901

ImageNet-1k val error: none is published.
Other padding, no contrast normalisation.
A run here is tested on ten crops.
62,357,608 parameters; 1.198 GMACs per 224x224 image.
Digits: 64x64 images, 8 epochs; hidden_features=(512, 512), kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/zfnet.py.

  python -m jaxcnn.main --config=configs/zfnet_keras.py               # offline digits
  python -m jaxcnn.main --config=configs/zfnet_keras.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/zfnet_keras.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("zfnet_keras", dataset)
