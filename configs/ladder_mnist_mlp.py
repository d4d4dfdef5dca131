"""Ladder network of dense layers.

Rasmus, Valpola, Honkala, Berglund and Raiko, "Semi-Supervised Learning with Ladder Networks", 2015.
https://arxiv.org/abs/1507.02672

MNIST test error: 1.06 %, 100 labels, 10 seeds.
0.84 with 1,000 labels, 0.57 with all; running statistics instead of those of the training set.
1,538,770 parameters (3,105,710 with the auxiliary heads, which only train); 0.001537 GMACs per
28x28 image.
Digits: 28x28 images, 60 epochs; decoder=True.
What is the paper's and what is ours: jaxcnn/config/recipes/ladder.py.

  python -m jaxcnn.main --config=configs/ladder_mnist_mlp.py        # offline digits
  python -m jaxcnn.main --config=configs/ladder_mnist_mlp.py:mnist  # paper's recipe

By a recipe of ours: :synthetic and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("ladder_mnist_mlp", dataset)
