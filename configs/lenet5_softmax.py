"""LeNet-5 as published but for its output, which is linear for a softmax.

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
https://doi.org/10.1109/5.726791

MNIST test error: none is published.
Lenet5 with a linear layer in place of the codes.
60,850 parameters; 0.0003265 GMACs per 32x32 image.
Digits: 32x32 images, 60 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/lenet.py.

  python -m jaxcnn.main --config=configs/lenet5_softmax.py        # offline digits
  python -m jaxcnn.main --config=configs/lenet5_softmax.py:mnist  # paper's recipe

By a recipe of ours: :synthetic and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("lenet5_softmax", dataset)
