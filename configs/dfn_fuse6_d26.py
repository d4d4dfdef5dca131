"""Deeply-fused net: a plain net of 26 layers, fused 6 times with a shallow one.

Wang, Wei, Zhang and Zeng, "Deeply-Fused Nets", 2016, arXiv 1605.07716.

No error of this network is published; it is the released code's. Whole images are tested.
392,506 parameters (398,356 with 100 classes); 59.43 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/dfn_fuse6_d26.py            # digits, offline
  python -m jaxcnn.main --config=configs/dfn_fuse6_d26.py:cifar10    # the released code's recipe
  python -m jaxcnn.main --config=configs/dfn_fuse6_d26.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/dfn_fuse6_d26.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.dfn("dfn_fuse6_d26", dataset)
