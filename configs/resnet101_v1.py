"""ResNet-101, shortcut B, the stride on the first 1x1 of a stage as in the paper ("v1").

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

ImageNet-1k validation error, top-1 / top-5 %, in the paper: 21.75 / 6.05 with ten 224 crops. A run
here is tested on ten crops. CIFAR at 32x32 with this network: no published figure.
44,549,160 parameters; 7.570 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet101_v1.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet101_v1.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnet101_v1.py:cifar10       # the paper's CIFAR recipe
  python -m jaxcnn.main --config=configs/resnet101_v1.py:cifar100      # the same
  python -m jaxcnn.main --config=configs/resnet101_v1.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet101_v1.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("resnet101_v1", dataset)
