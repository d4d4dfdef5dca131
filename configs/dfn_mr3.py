"""DFN-MR3: two lines that merge and run, 50 layers deep, four times as wide.

Zhao, Wang, Li, Tu and Zeng, "On the Connection of Deep Fusion to Ensembling", 2016.
https://arxiv.org/abs/1611.07718

CIFAR-10 test error: 3.57 %, whole image, trained with shifts and flips.
CIFAR-100 19.00; 24.8M parameters in the authors' table.
24,151,882 parameters (24,175,012 with 100 classes); 3.559 GMACs per 32x32 image.
Digits: 8x8 images, 5 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/dfn_mr.py.

  python -m jaxcnn.main --config=configs/dfn_mr3.py           # offline digits
  python -m jaxcnn.main --config=configs/dfn_mr3.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/dfn_mr3.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("dfn_mr3", dataset)
