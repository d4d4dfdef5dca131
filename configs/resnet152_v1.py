"""ResNet-152, shortcut B, the stride on the first 1x1 of a stage as in the paper ("v1").

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015.
https://arxiv.org/abs/1512.03385

ImageNet-1k val error, top-1 / top-5: 21.43 / 5.71 %, 10 crops.
Stride on the first 1x1 of a stage.
A run here is tested on ten crops.
60,192,808 parameters; 11.28 GMACs per 224x224 image.
Digits: 32x32 images, 12 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/resnet.py.

  python -m jaxcnn.main --config=configs/resnet152_v1.py               # offline digits
  python -m jaxcnn.main --config=configs/resnet152_v1.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/resnet152_v1.py:cifar10       # paper's recipe
  python -m jaxcnn.main --config=configs/resnet152_v1.py:cifar100      # paper's recipe
  python -m jaxcnn.main --config=configs/resnet152_v1.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("resnet152_v1", dataset)
