"""FractalNet-34: four blocks of 4 columns between the ends of ResNet-34.

Larsson, Maire and Shakhnarovich, "FractalNet: Ultra-Deep Neural Networks without Residuals", 2016.
https://arxiv.org/abs/1605.07648

ImageNet-1k val error, top-1 / top-5: 24.12 / 7.39 %, 10 crops.
ResNet-34's first and last layers around four blocks; counts follow from that sentence.
A run here is tested on ten crops.
164,031,016 parameters; 24.16 GMACs per 224x224 image.
Digits: 32x32 images, 5 epochs; drop_path_rate=0.0.
What is the paper's and what is ours: jaxcnn/config/recipes/fractalnet.py.

  python -m jaxcnn.main --config=configs/fractalnet34.py               # offline digits
  python -m jaxcnn.main --config=configs/fractalnet34.py:imagenet2012  # paper's recipe
  python -m jaxcnn.main --config=configs/fractalnet34.py:folder --config.data.dir=DIR

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("fractalnet34", dataset)
