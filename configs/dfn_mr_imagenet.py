"""DFN-MR for ImageNet: two lines of bottlenecks that merge and run, 50 layers deep.

Zhao, Wang, Li, Tu and Zeng, "On the Connection of Deep Fusion to Ensembling", 2016,
arXiv 1611.07718.

ImageNet-1k validation error, top-1 / top-5 %: 23.16 / 6.61 with one 224 crop in the paper. A run
here is tested on one centre crop.
46,395,048 parameters; 7.341 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/dfn_mr_imagenet.py               # digits, offline
  python -m jaxcnn.main --config=configs/dfn_mr_imagenet.py:imagenet2012  # the released recipe
  python -m jaxcnn.main --config=configs/dfn_mr_imagenet.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/dfn_mr_imagenet.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.dfn("dfn_mr_imagenet", dataset)
