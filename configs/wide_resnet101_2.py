"""Wide ResNet-101-2: bottlenecks of twice the width.

Zagoruyko and Komodakis, "Wide Residual Networks", 2016. https://arxiv.org/abs/1605.07146

ImageNet-1k val error, top-1 / top-5: 21.152 / 5.716 %, 1 crop, torchvision's weights.
A run here is tested on one centre crop.
126,886,696 parameters; 22.75 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/wide_resnet.py.

  python -m jaxcnn.main --config=configs/wide_resnet101_2.py               # offline digits
  python -m jaxcnn.main --config=configs/wide_resnet101_2.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/wide_resnet101_2.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("wide_resnet101_2", dataset)
