"""Fully connected highway network of 20 hidden layers of 50.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks (Highway Networks)", 2015.
https://arxiv.org/abs/1507.06228

MNIST test error: none is published.
20 hidden layers; the plain twin of 71 units has 153,583 parameters; the paper shows training losses
of these and no test errors.
136,660 parameters; 0.0001347 GMACs per 28x28 image.
Digits: 28x28 images, 30 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/highway.py.

  python -m jaxcnn.main --config=configs/highway_fc20.py  # offline digits

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("highway_fc20", dataset)
