"""LeNet-5 as it is taught today: full C3, plain average pools, ReLU, softmax (`lenet5_modern`).

LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998.
https://doi.org/10.1109/5.726791

MNIST test error: none is published.
Every map of S2 feeds C3, average pools without parameters, softmax.
61,706 parameters; 0.0004165 GMACs per 32x32 image.
Digits: 32x32 images, 60 epochs.
What is the paper's and what is ours: jaxcnn/config/recipes/lenet.py.

  python -m jaxcnn.main --config=configs/lenet5.py        # offline digits
  python -m jaxcnn.main --config=configs/lenet5.py:mnist  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :fashion_mnist, :svhn, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("lenet5", dataset)
