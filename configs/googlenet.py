"""GoogLeNet: LRN, two auxiliary heads in training.

Szegedy et al., "Going Deeper with Convolutions", 2014. https://arxiv.org/abs/1409.4842

ImageNet-1k val error, top-1 / top-5: - / 10.07 %, 1 crop; top-5 of 10 crops 9.15, of 144 crops
7.89.
A run here is tested on 144 crops.
6,998,552 parameters (13,378,280 with the auxiliary heads, which only train); 1.583 GMACs per
224x224 image.
Digits: 32x32 images, 8 epochs; kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/googlenet.py.

  python -m jaxcnn.main --config=configs/googlenet.py               # offline digits
  python -m jaxcnn.main --config=configs/googlenet.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/googlenet.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("googlenet", dataset)
