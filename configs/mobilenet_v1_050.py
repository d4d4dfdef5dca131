"""MobileNet v1, width 0.5.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017, arXiv 1704.04861.

ImageNet-1k validation error, top-1 / top-5 %: 36.3 / – with one 224 crop in the paper (38.3 at 192,
40.9 at 160, 43.7 at 128). A run here is tested on one centre crop.
1,331,592 parameters; 149.5 MMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/mobilenet_v1_050.py               # digits, offline
  python -m jaxcnn.main --config=configs/mobilenet_v1_050.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/mobilenet_v1_050.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/mobilenet_v1_050.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.mobilenet("mobilenet_v1_050", dataset)
