"""DenseNet-169: BC, growth rate 32, blocks of 6, 12, 32, 32 layers.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016,
arXiv 1608.06993.

ImageNet-1k validation error, top-1 / top-5 %, in the paper: 23.80 / 6.85 with one 224 crop, 22.08 /
5.92 with ten 224 crops. A run here is tested on one centre crop. CIFAR at 32x32 with this network:
no published figure.
14,149,480 parameters; 3.360 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/densenet169.py               # digits, offline
  python -m jaxcnn.main --config=configs/densenet169.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/densenet169.py:cifar10       # the paper's CIFAR recipe
  python -m jaxcnn.main --config=configs/densenet169.py:cifar100      # the same
  python -m jaxcnn.main --config=configs/densenet169.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/densenet169.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.densenet("densenet169", dataset)
