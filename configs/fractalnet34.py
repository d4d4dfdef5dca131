"""FractalNet-34: four blocks of 4 columns between the ends of ResNet-34.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals",
2016, arXiv 1605.07648.

ImageNet-1k validation error, top-1 / top-5 %: 24.12 / 7.39 with ten 224 crops in the paper. A run
here is tested on ten crops.
164,031,016 parameters; 24.165 GMACs per 224x224 image.

  python -m jaxcnn.main --config=configs/fractalnet34.py               # digits, offline
  python -m jaxcnn.main --config=configs/fractalnet34.py:imagenet2012  # the paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet34.py:folder --config.data.dir=DIR
  python -m jaxcnn.main --config=configs/fractalnet34.py:synthetic     # made-up images

By a recipe of ours: :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.fractalnet("fractalnet34", dataset)
