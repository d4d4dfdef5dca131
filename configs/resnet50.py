"""ResNet-50, shortcut B (projections where the shape changes), the stride on the 3x3 ("v1.5").

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

ImageNet-1k val error, top-1 / top-5: 23.87 / 7.138 %, 1 crop, torchvision's weights.
Stride on the 3x3; resnet50_v1 is the paper's; facebook/fb.resnet.torch has 24.01 / 7.02 with 1
crop, by another recipe; the paper has 22.85 / 6.71 with 10 crops.
A run here is tested on ten crops.
25,557,032 parameters; 4.089 GMACs per 224x224 image.
Digits: 32x32 images, 8 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/resnet50.py               # offline digits
  python -m jaxcnn.main --config=configs/resnet50.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnet50.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/resnet50.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/resnet50.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet50", dataset)
