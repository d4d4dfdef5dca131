"""DFN-MR for ImageNet: two lines of bottlenecks that merge and run, 50 layers deep.

Zhao, Wang, Li, Tu and Zeng, "On the Connection of Deep Fusion to Ensembling", 2016.
https://arxiv.org/abs/1611.07718

ImageNet-1k val error, top-1 / top-5: 23.16 / 6.61 %, 1 crop.
A run here is tested on one centre crop.
46,395,048 parameters; 7.341 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/dfn_mr.py.

  python -m jaxcnn.main --config=configs/dfn_mr_imagenet.py               # offline digits
  python -m jaxcnn.main --config=configs/dfn_mr_imagenet.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/dfn_mr_imagenet.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("dfn_mr_imagenet", dataset)
