"""Network in Network for CIFAR-100.

Lin, Chen and Yan, "Network In Network", 2013. https://arxiv.org/abs/1312.4400

CIFAR-100 test error: 35.68 %, whole image, trained without augmentation.
984,356 parameters (966,986 with 10 classes); 0.2236 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs; dropout_rate=0.0, final_act=False, kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/nin.py.

  python -m jaxcnn.main --config=configs/nin_cifar100.py           # offline digits
  python -m jaxcnn.main --config=configs/nin_cifar100.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/nin_cifar100.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("nin_cifar100", dataset)
