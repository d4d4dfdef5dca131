"""ResNet-34 with shortcut C: a projection in every unit.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

ImageNet-1k validation error, top-1 / top-5 %, in the paper: 24.19 / 7.40 with ten 224 crops. A run
here is tested on ten crops. CIFAR at 32x32 with this network: no published figure.
22,716,840 parameters; 3.831 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet34_c.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet34_c.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnet34_c.py:cifar10       # the paper's CIFAR recipe
  python -m jaxcnn.main --config=configs/resnet34_c.py:cifar100      # the same
  python -m jaxcnn.main --config=configs/resnet34_c.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet34_c.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("resnet34_c", dataset)
