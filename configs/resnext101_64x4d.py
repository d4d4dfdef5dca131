"""ResNeXt-101, 64 groups of width 4.

Xie, Girshick, Dollár, Tu and He, "Aggregated Residual Transformations for Deep Neural Networks",
2016. https://arxiv.org/abs/1611.05431

ImageNet-1k val error, top-1 / top-5: 20.4 / 5.3 %, 1 crop; of 320 19.1 / 4.4.
A run here is tested on one centre crop.
83,455,272 parameters; 15.46 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/resnext.py.

  python -m jaxcnn.main --config=configs/resnext101_64x4d.py               # offline digits
  python -m jaxcnn.main --config=configs/resnext101_64x4d.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnext101_64x4d.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnext101_64x4d", dataset)
