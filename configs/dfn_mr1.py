"""DFN-MR1: two lines that merge and run, 56 layers deep.

Zhao, Wang, Li, Tu and Zeng, "On the Connection of Deep Fusion to Ensembling", 2016,
arXiv 1611.07718.

CIFAR-10 / CIFAR-100 test error 4.94 / 24.46 % in the paper, with flips and crops of the image
padded by 4; whole images are tested.
1,710,426 parameters (1,716,276 with 100 classes); 251.05 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/dfn_mr1.py            # digits, offline
  python -m jaxcnn.main --config=configs/dfn_mr1.py:cifar10    # the paper's recipe
  python -m jaxcnn.main --config=configs/dfn_mr1.py:cifar100   # the same
  python -m jaxcnn.main --config=configs/dfn_mr1.py:synthetic  # made-up images

By a recipe of ours: :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.dfn("dfn_mr1", dataset)
