"""MobileNet v1 with ordinary convolutions.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017. https://arxiv.org/abs/1704.04861

ImageNet-1k val error: 28.3 %, 1 crop.
Ordinary 3x3 convolutions.
A run here is tested on one centre crop.
29,294,088 parameters; 4.867 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/mobilenet.py.

  python -m jaxcnn.main --config=configs/mobilenet_v1_fullconv.py               # offline digits
  python -m jaxcnn.main --config=configs/mobilenet_v1_fullconv.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_fullconv.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("mobilenet_v1_fullconv", dataset)
