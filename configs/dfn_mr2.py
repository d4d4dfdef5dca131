"""DFN-MR2: two lines that merge and run, 32 layers deep, four times as wide.

Zhao, Wang, Li, Tu and Zeng, "On the Connection of Deep Fusion to Ensembling", 2016,
arXiv 1611.07718.

CIFAR-10 / CIFAR-100 test error 3.94 / 19.25 % in the paper, with flips and crops of the image
padded by 4; whole images are tested.
14,851,402 parameters (14,874,532 with 100 classes); 2.200 GMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/dfn_mr2.py            # digits, offline
  python -m jaxcnn.main --config=configs/dfn_mr2.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/dfn_mr2.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/dfn_mr2.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.dfn("dfn_mr2", dataset)
