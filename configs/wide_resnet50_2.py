"""Wide ResNet-50-2: bottlenecks of twice the width.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016. https://arxiv.org/abs/1605.07146

ImageNet-1k val error, top-1 / top-5: 21.9 / 6.03 %, 1 crop.
Table 9 of the paper prints 5.79 top-5.
A run here is tested on one centre crop.
68,883,240 parameters; 11.40 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/wide_resnet.py.

  python -m jaxcnn.main --config=configs/wide_resnet50_2.py               # offline digits
  python -m jaxcnn.main --config=configs/wide_resnet50_2.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/wide_resnet50_2.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("wide_resnet50_2", dataset)
