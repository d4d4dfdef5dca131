"""Network in Network for MNIST.

Lin, Chen and Yan, "Network In Network", 2013. https://arxiv.org/abs/1312.4400

MNIST test error: 0.47 %, whole image, trained without augmentation.
349,674 parameters; 0.05070 GMACs per 28x28 image.
Digits: 28x28 images, 8 epochs; dropout_rate=0.0, final_act=False, kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/nin.py.

  python -m jaxcnn.main --config=configs/nin_mnist.py        # offline digits
  python -m jaxcnn.main --config=configs/nin_mnist.py:mnist  # paper's recipe

By a recipe of ours: :glyphs, :synthetic and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("nin_mnist", dataset)
