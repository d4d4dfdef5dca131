"""MobileNet v1 without its five equal 512-wide blocks.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017. https://arxiv.org/abs/1704.04861

ImageNet-1k val error: 34.7 %, 1 crop.
Without five layers of 512 maps.
A run here is tested on one centre crop.
2,887,976 parameters; 0.3073 GMACs per 224x224 image.
Digits: 64x64 images, 20 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/mobilenet.py.

  python -m jaxcnn.main --config=configs/mobilenet_v1_shallow.py               # offline digits
  python -m jaxcnn.main --config=configs/mobilenet_v1_shallow.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_shallow.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("mobilenet_v1_shallow", dataset)
