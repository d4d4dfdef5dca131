"""Plain-34: ResNet-34 without its shortcuts.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

ImageNet-1k validation error, top-1 / top-5 %, in the paper: 28.54 / 10.02 with ten 224 crops
(ResNet-34 with shortcut A: 25.03 / 7.76). A run here is tested on ten crops. CIFAR at 32x32 with
this network: no published figure.
21,623,848 parameters; 3.644 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/plain34.py               # digits, offline
  python -m jaxcnn.main --config=configs/plain34.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/plain34.py:cifar10       # the paper's CIFAR recipe
  python -m jaxcnn.main --config=configs/plain34.py:cifar100      # the same
  python -m jaxcnn.main --config=configs/plain34.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/plain34.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("plain34", dataset)
