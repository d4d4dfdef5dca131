"""GoogLeNet as torchvision (after TF-slim) has it: BN, 3x3 where the paper has 5x5.

Szegedy et al., "Going Deeper with Convolutions", 2014. https://arxiv.org/abs/1409.4842

ImageNet-1k val error, top-1 / top-5: 30.222 / 10.47 %, 1 crop, torchvision's weights.
3x3 kernels in the 5x5 branches, a 2x2 pool before 5a, batch normalisation.
A run here is tested on one centre crop.
6,624,904 parameters (13,004,888 with the auxiliary heads, which only train); 1.498 GMACs per
224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/googlenet.py.

  python -m jaxcnn.main --config=configs/googlenet_torchvision.py               # offline digits
  python -m jaxcnn.main --config=configs/googlenet_torchvision.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/googlenet_torchvision.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("googlenet_torchvision", dataset)
