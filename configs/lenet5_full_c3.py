"""LeNet-5 whose C3 sees every map of S2, S4 a max-pool without parameters, fixed codes.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
https://doi.org/10.1109/5.726791

MNIST test error: none is published.
Lenet5 whose C3 sees every map of S2; S4 a max-pool without parameters.
60,868 parameters; 0.0004165 GMACs per 32x32 image.
Digits: 32x32 images, 40 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/lenet.py.

  python -m jaxcnn.main --config=configs/lenet5_full_c3.py        # offline digits
  python -m jaxcnn.main --config=configs/lenet5_full_c3.py:mnist  # paper's recipe

By a recipe of ours: :synthetic and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("lenet5_full_c3", dataset)
