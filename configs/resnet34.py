"""ResNet-34, shortcut B (projections where the shape changes).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

ImageNet-1k val error, top-1 / top-5: 24.52 / 7.46 %, 10 crops.
Facebook/fb.resnet.torch has 26.73 / 8.74 with 1 crop, by another recipe.
A run here is tested on ten crops.
21,797,672 parameters; 3.664 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/resnet34.py               # offline digits
  python -m jaxcnn.main --config=configs/resnet34.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnet34.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/resnet34.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/resnet34.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet34", dataset)
