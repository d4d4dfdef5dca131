"""ResNeXt-101, 32 groups of width 4.

Xie, Girshick, Dollár, Tu and He, "Aggregated Residual Transformations for Deep Neural Networks",
2016. https://arxiv.org/abs/1611.05431

ImageNet-1k val error, top-1 / top-5: 21.2 / 5.6 %, 1 crop.
A run here is tested on one centre crop.
44,177,704 parameters; 7.970 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnext.py.

  python -m jaxcnn.main --config=configs/resnext101_32x4d.py               # offline digits
  python -m jaxcnn.main --config=configs/resnext101_32x4d.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnext101_32x4d.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnext101_32x4d", dataset)
