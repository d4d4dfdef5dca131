"""ZFNet as known from Keras code: other padding, no contrast normalisation, U(±0.05).

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, arXiv 1311.2901.

ImageNet-1k validation error, top-1 / top-5 %: none is published of this form (of the paper's own
38.4 / 16.5, ten crops). A run here is tested on ten crops.
Digits are enlarged to 64x64; there the two hidden layers have 512 units, and the convolutions start
by He's initialisation.
62,357,608 parameters; 1.198 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/zfnet_keras.py               # digits, offline
  python -m jaxcnn.main --config=configs/zfnet_keras.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/zfnet_keras.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/zfnet_keras.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.zfnet("zfnet_keras", dataset)
