"""ResNet-50, shortcut B (projections where the shape changes), the stride on the 3x3 ("v1.5").

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385.

ImageNet-1k validation error, top-1 / top-5 %: 22.85 / 6.71 with ten 224 crops in the paper, which
has the stride on the first 1x1 (resnet50_v1); 24.01 / 7.02 with one 224 crop
(facebook/fb.resnet.torch, another recipe). A run here is tested on ten crops. CIFAR at 32x32 with
this network: no published figure.
25,557,032 parameters; 4.089 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet50.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet50.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnet50.py:cifar10       # the paper's CIFAR recipe
  python -m jaxcnn.main --config=configs/resnet50.py:cifar100      # the same
  python -m jaxcnn.main --config=configs/resnet50.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet50.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.resnet("resnet50", dataset)
