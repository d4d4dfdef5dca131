"""DenseNet-169: BC, growth rate 32, blocks of 6, 12, 32, 32 layers.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

ImageNet-1k val error, top-1 / top-5: 23.8 / 6.85 %, 1 crop; 10 crops 22.08 / 5.92.
A run here is tested on one centre crop.
14,149,480 parameters; 3.360 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet169.py               # offline digits
  python -m jaxcnn.main --config=configs/densenet169.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/densenet169.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/densenet169.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet169.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet169", dataset)
