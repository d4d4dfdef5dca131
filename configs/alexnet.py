"""AlexNet: two towers (grouped convolutions), LRN, 227x227 images.

Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012.
https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks

ImageNet-1k val error, top-1 / top-5: 40.7 / 18.2 %, 10 crops.
Two towers as groups; inputs of 227, where the paper prints 224; errors of one network, not of an
ensemble.
A run here is tested on ten crops.
60,965,224 parameters; 0.7244 GMACs per 227x227 image. Images of 64x64 or larger.
Digits: 64x64 images, 8 epochs; hidden_features=(512, 512), kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/alexnet.py.

  python -m jaxcnn.main --config=configs/alexnet.py               # offline digits
  python -m jaxcnn.main --config=configs/alexnet.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/alexnet.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("alexnet", dataset)
