"""ResNet-18 with shortcut A: identity, zero channels where the width grows.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

ImageNet-1k validation error, top-1 / top-5 %, in the paper: 27.88 / – with ten 224 crops. A run
here is tested on ten crops. CIFAR at 32x32 with this network: no published figure.
11,515,688 parameters; 1.795 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet18_a.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet18_a.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnet18_a.py:cifar10       # the paper's CIFAR recipe
  python -m jaxcnn.main --config=configs/resnet18_a.py:cifar100      # the same
  python -m jaxcnn.main --config=configs/resnet18_a.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet18_a.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("resnet18_a", dataset)
