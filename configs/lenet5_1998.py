"""LeNet-5 as published: C3 by its table, trainable subsampling, fixed codes (`lenet5`).

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
https://doi.org/10.1109/5.726791

MNIST test error: 0.95 %, 28x28 digits centred in 32x32.
C3 by the table, trainable S2 and S4, scaled tanh, fixed codes (840 constants); 340,908 connections;
0.8 with distorted digits.
60,000 parameters; 0.0003265 GMACs per 32x32 image.
Digits: 32x32 images, 40 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/lenet.py.

  python -m jaxcnn.main --config=configs/lenet5_1998.py        # offline digits
  python -m jaxcnn.main --config=configs/lenet5_1998.py:mnist  # paper's recipe

By a recipe of ours: :synthetic and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("lenet5_1998", dataset)
