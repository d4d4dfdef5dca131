"""ResNet-34 with shortcut C: a projection in every unit.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

ImageNet-1k val error, top-1 / top-5: 24.19 / 7.4 %, 10 crops.
Every shortcut projects.
A run here is tested on ten crops.
22,716,840 parameters; 3.831 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/resnet34_c.py               # offline digits
  python -m jaxcnn.main --config=configs/resnet34_c.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnet34_c.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/resnet34_c.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/resnet34_c.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet34_c", dataset)
