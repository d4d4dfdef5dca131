"""ResNet-50 with torchvision's training recipe of 2021.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015, arXiv 1512.03385. The
recipe: Vryniotis, "How to Train State-Of-The-Art Models Using TorchVision's Latest Primitives",
PyTorch blog, 2021, and the reference script of torchvision.

ImageNet-1k validation error, top-1 / top-5 %: 19.142 / 4.566 published for torchvision's weights
ResNet50_Weights.IMAGENET1K_V2, one 224 crop. Six times as long as the usual 90 epochs and more. A
run here is tested on one centre crop.
25,557,032 parameters; 4.089 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/resnet50_modern.py               # digits, offline
  python -m jaxcnn.main --config=configs/resnet50_modern.py:imagenet2012  # the recipe
  python -m jaxcnn.main --config=configs/resnet50_modern.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/resnet50_modern.py:synthetic     # made-up images

By a recipe of ours: :glyphs, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet50_modern", dataset)
