"""ResNet-34, shortcut B (projections where the shape changes).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

ImageNet-1k validation error, top-1 / top-5 %: 24.52 / 7.46 with ten 224 crops in the paper; 26.73 /
8.74 with one 224 crop (facebook/fb.resnet.torch, another recipe). A run here is tested on ten
crops. CIFAR at 32x32 with this network: no published figure.
21,797,672 parameters; 3.664 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet34.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet34.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnet34.py:cifar10       # the paper's CIFAR recipe
  python -m jaxcnn.main --config=configs/resnet34.py:cifar100      # the same
  python -m jaxcnn.main --config=configs/resnet34.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet34.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("resnet34", dataset)
