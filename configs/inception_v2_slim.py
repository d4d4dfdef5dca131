"""BN-Inception as TF-slim has it ("Inception v2"): separable stem, 576 maps throughout.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift", 2015. https://arxiv.org/abs/1502.03167

ImageNet-1k val error, top-1 / top-5: 26.1 / 8.2 %, 1 crop, released weights.
Separable first convolution, 576 maps in every 14x14 module.
A run here is tested on one centre crop.
11,188,288 parameters; 1.935 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/bn_inception.py.

  python -m jaxcnn.main --config=configs/inception_v2_slim.py               # offline digits
  python -m jaxcnn.main --config=configs/inception_v2_slim.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/inception_v2_slim.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("inception_v2_slim", dataset)
