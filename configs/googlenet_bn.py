"""GoogLeNet with batch normalisation instead of LRN and biases.

Szegedy et al., "Going Deeper with Convolutions", 2014. https://arxiv.org/abs/1409.4842

ImageNet-1k val error: none is published.
Batch normalisation instead of biases and response normalisation.
A run here is tested on 144 crops.
7,005,832 parameters (13,385,816 with the auxiliary heads, which only train); 1.583 GMACs per
224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/googlenet.py.

  python -m jaxcnn.main --config=configs/googlenet_bn.py               # offline digits
  python -m jaxcnn.main --config=configs/googlenet_bn.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/googlenet_bn.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("googlenet_bn", dataset)
