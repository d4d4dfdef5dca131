"""Network in Network for ImageNet.

Lin, Chen and Yan, "Network In Network", 2013. https://arxiv.org/abs/1312.4400

ImageNet-1k val error: 40.64 %, 1 crop, the author's weights.
The paper has no figure for ImageNet.
A run here is tested on one centre crop.
7,595,176 parameters; 1.100 GMACs per 224x224 image.
Digits: 64x64 images, 8 epochs; dropout_rate=0.0, final_act=False, kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/nin.py.

  python -m jaxcnn.main --config=configs/nin_imagenet.py               # offline digits
  python -m jaxcnn.main --config=configs/nin_imagenet.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/nin_imagenet.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("nin_imagenet", dataset)
