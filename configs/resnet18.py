"""ResNet-18, shortcut B (projections where the shape changes).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

ImageNet-1k validation error, top-1 / top-5 %: 30.43 / 10.76 with one 224 crop
(facebook/fb.resnet.torch, another recipe). The paper has this depth with shortcut A only: 27.88 / –
with ten 224 crops. A run here is tested on ten crops. CIFAR at 32x32 with this network: no
published figure.
11,689,512 parameters; 1.814 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet18.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet18.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnet18.py:cifar10       # the paper's CIFAR recipe
  python -m jaxcnn.main --config=configs/resnet18.py:cifar100      # the same
  python -m jaxcnn.main --config=configs/resnet18.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet18.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("resnet18", dataset)
