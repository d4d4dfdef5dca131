"""ResNet-18 v2: full pre-activation.

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016.
https://arxiv.org/abs/1603.05027

ImageNet-1k val error: none is published.
A run here is tested on one 320 crop.
11,687,720 parameters; 1.814 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/preact_resnet.py.

  python -m jaxcnn.main --config=configs/resnet18_v2.py               # offline digits
  python -m jaxcnn.main --config=configs/resnet18_v2.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnet18_v2.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet18_v2", dataset)
