"""ResNet-18, shortcut B (projections where the shape changes).

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

ImageNet-1k val error, top-1 / top-5: 30.242 / 10.922 %, 1 crop, torchvision's weights.
Shortcut B, which the paper has not at this depth: 27.88 with 10 crops is resnet18_a;
facebook/fb.resnet.torch has 30.43 / 10.76 with 1 crop, by another recipe.
A run here is tested on ten crops.
11,689,512 parameters; 1.814 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/resnet18.py               # offline digits
  python -m jaxcnn.main --config=configs/resnet18.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnet18.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/resnet18.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/resnet18.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet18", dataset)
