"""BN-Inception, the paper's branch widths (608 maps where its table prints 576).

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
Covariate Shift", 2015. https://arxiv.org/abs/1502.03167

ImageNet-1k val error, top-1 / top-5: 25.2 / 7.82 %, 1 crop; 144 crops 21.99 / 5.82.
Modules 4c and 4d put out 608 maps, by the table's branch widths; its sums say 576.
A run here is tested on one centre crop.
11,285,224 parameters; 2.033 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/bn_inception.py.

  python -m jaxcnn.main --config=configs/bn_inception.py               # offline digits
  python -m jaxcnn.main --config=configs/bn_inception.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/bn_inception.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("bn_inception", dataset)
