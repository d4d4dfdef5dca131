"""Convolutional highway network of 10 layers and 16 maps for MNIST.

Srivastava, Greff and Schmidhuber, "Training Very Deep Networks (Highway Networks)", 2015.
https://arxiv.org/abs/1507.06228

MNIST test error: 0.57 %, whole image, trained without augmentation.
38,986 parameters; 0.008029 GMACs per 28x28 image.
Digits: 28x28 images, 30 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/highway.py.

  python -m jaxcnn.main --config=configs/highway_mnist_w16.py        # offline digits
  python -m jaxcnn.main --config=configs/highway_mnist_w16.py:mnist  # paper's recipe

By a recipe of ours: :glyphs, :synthetic and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("highway_mnist_w16", dataset)
