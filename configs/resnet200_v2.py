"""ResNet-200 v2: full pre-activation.

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016, arXiv 1603.05027.

ImageNet-1k validation error, top-1 / top-5 %: 20.7 / 5.3 with one 320 crop in the paper (scale
augmentation; 20.1 / 4.8 with scale and aspect). A run here is tested on one 320 crop.
64,666,152 parameters; 15.007 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet200_v2.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet200_v2.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/resnet200_v2.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet200_v2.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.preact_resnet("resnet200_v2", dataset)
