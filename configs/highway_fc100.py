"""Fully connected highway network of 100 hidden layers of 50.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks (Highway Networks)", 2015.
https://arxiv.org/abs/1507.06228

MNIST test error: none is published.
100 hidden layers; the plain twin of 71 units has 562,543 parameters; the paper shows training
losses of these and no test errors.
544,660 parameters; 0.0005347 GMACs per 28x28 image.
Digits: 28x28 images, 30 epochs; gate_bias=-4.0.
What is the paper's and what is ours: jaxcnn/config/recipes/highway.py.

  python -m jaxcnn.main --config=configs/highway_fc100.py  # offline digits

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("highway_fc100", dataset)
