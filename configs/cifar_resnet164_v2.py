"""ResNet-164 v2 for CIFAR: full pre-activation, bottlenecks.

He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016.
https://arxiv.org/abs/1603.05027

CIFAR-10 test error: 5.46 %, whole image, trained with shifts and flips; median of 5 runs.
CIFAR-100 24.33.
1,703,258 parameters; 0.2445 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs; scan_units=True.
What is the paper's and what is ours: jaxcnn/config/recipes/preact_resnet.py.

  python -m jaxcnn.main --config=configs/cifar_resnet164_v2.py           # offline digits
  python -m jaxcnn.main --config=configs/cifar_resnet164_v2.py:cifar10   # paper's recipe
  python -m jaxcnn.main --config=configs/cifar_resnet164_v2.py:cifar100  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist and :svhn.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("cifar_resnet164_v2", dataset)
