"""ResNet-152, shortcut B (projections where the shape changes), the stride on the 3x3 ("v1.5").

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

ImageNet-1k val error, top-1 / top-5: 21.688 / 5.954 %, 1 crop, torchvision's weights.
Stride on the 3x3; resnet152_v1 is the paper's; facebook/fb.resnet.torch has 22.16 / 6.16 with 1
crop, by another recipe; the paper has 21.43 / 5.71 with 10 crops.
A run here is tested on ten crops.
60,192,808 parameters; 11.51 GMACs per 224x224 image.
Digits: 32x32 images, 12 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/resnet152.py               # offline digits
  python -m jaxcnn.main --config=configs/resnet152.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnet152.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/resnet152.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/resnet152.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet152", dataset)
