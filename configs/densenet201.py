"""DenseNet-201: BC, growth rate 32, blocks of 6, 12, 48, 32 layers.

Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks", 2016.
https://arxiv.org/abs/1608.06993

ImageNet-1k val error, top-1 / top-5: 22.58 / 6.34 %, 1 crop; 10 crops 21.46 / 5.54.
A run here is tested on one centre crop.
20,013,928 parameters; 4.291 GMACs per 224x224 image.
Digits: 32x32 images, 6 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/densenet.py.

  python -m jaxcnn.main --config=configs/densenet201.py               # offline digits
  python -m jaxcnn.main --config=configs/densenet201.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/densenet201.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/densenet201.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/densenet201.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("densenet201", dataset)
