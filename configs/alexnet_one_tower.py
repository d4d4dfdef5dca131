"""AlexNet in one tower: no groups, no LRN.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012.
https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks

ImageNet-1k val error: none is published.
Without groups and response normalisation.
A run here is tested on ten crops.
62,378,344 parameters; 1.135 GMACs per 227x227 image. Images of 64x64 or larger.
Digits: 64x64 images, 8 epochs; hidden_features=(512, 512), kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/alexnet.py.

  python -m jaxcnn.main --config=configs/alexnet_one_tower.py               # offline digits
  python -m jaxcnn.main --config=configs/alexnet_one_tower.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/alexnet_one_tower.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("alexnet_one_tower", dataset)
