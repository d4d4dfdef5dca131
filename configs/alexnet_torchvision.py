"""AlexNet as torchvision has it: one tower of 64, 192, 384, 256, 256 maps, no LRN.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
https://arxiv.org/abs/1404.5997

ImageNet-1k val error, top-1 / top-5: 43.478 / 20.934 %, 1 crop, torchvision's weights.
256 maps in conv4, no response normalisation.
A run here is tested on one centre crop.
61,100,840 parameters; 0.7142 GMACs per 224x224 image. Images of 63x63 or larger.
Digits: 64x64 images, 8 epochs; hidden_features=(512, 512), kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/alexnet.py.

  python -m jaxcnn.main --config=configs/alexnet_torchvision.py               # offline digits
  python -m jaxcnn.main --config=configs/alexnet_torchvision.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/alexnet_torchvision.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("alexnet_torchvision", dataset)
