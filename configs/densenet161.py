"""DenseNet-161: BC, growth rate 48, blocks of 6, 12, 36, 24 layers.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

ImageNet-1k val error, top-1 / top-5: 22.33 / 6.15 %, 1 crop; 10 crops 20.85 / 5.30.
A run here is tested on one centre crop.
28,681,000 parameters; 7.728 GMACs per 224x224 image.
Digits: 32x32 images, 5 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet161.py               # offline digits
  python -m jaxcnn.main --config=configs/densenet161.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/densenet161.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/densenet161.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet161.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet161", dataset)
