"""Deeply-Supervised Net for CIFAR: Network in Network with three companion classifiers.

Lee, Xie, Gallagher, Zhang and Tu, "Deeply-Supervised Nets", 2014. https://arxiv.org/abs/1409.5185

CIFAR-10 test error: 9.69 %, whole image, trained without augmentation; with it 7.97.
Without its companions nin_cifar10; the paper's second version has 9.78 and 8.22; CIFAR-100 34.57.
966,986 parameters (3,547,496 with the auxiliary heads, which only train); 0.2225 GMACs per 32x32
image.
Digits: 32x32 images, 12 epochs; aux_heads=True, dropout_rate=0.0, final_act=False,
kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/dsn.py.

  python -m jaxcnn.main --config=configs/dsn_cifar10.py           # offline digits
  python -m jaxcnn.main --config=configs/dsn_cifar10.py:svhn      # paper's recipe
  python -m jaxcnn.main --config=configs/dsn_cifar10.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/dsn_cifar10.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist and :fashion_mnist.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("dsn_cifar10", dataset)
