"""Deeply-fused net: a plain net of 26 layers, fused 6 times with a shallow one.

Wang, Wei, Zhang and Zeng, "Deeply-Fused Nets", 2016. https://arxiv.org/abs/1605.07716

CIFAR-10 test error: none is published.
No published error; the network is the released code's.
392,506 parameters (398,356 with 100 classes); 0.05943 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/dfn.py.

  python -m jaxcnn.main --config=configs/dfn_fuse6_d26.py           # offline digits
  python -m jaxcnn.main --config=configs/dfn_fuse6_d26.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/dfn_fuse6_d26.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("dfn_fuse6_d26", dataset)
