"""ResNet-34 v2: full pre-activation.

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027.

ImageNet-1k validation error: no published figure. A run here is tested on one 320 crop.
21,795,880 parameters; 3.664 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet34_v2.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet34_v2.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnet34_v2.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet34_v2.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.preact_resnet("resnet34_v2", dataset)
