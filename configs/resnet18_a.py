"""ResNet-18 with shortcut A: identity, zero channels where the width grows.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

ImageNet-1k val error: 27.88 %, 10 crops.
Parameter-free shortcuts.
A run here is tested on ten crops.
11,515,688 parameters; 1.795 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/resnet18_a.py               # offline digits
  python -m jaxcnn.main --config=configs/resnet18_a.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnet18_a.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/resnet18_a.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/resnet18_a.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet18_a", dataset)
