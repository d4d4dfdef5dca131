"""Network in Network for SVHN.

Lin, Chen and Yan, "Network In Network", 2013. https://arxiv.org/abs/1312.4400

SVHN test error: 2.35 %, whole image, trained without augmentation.
1,986,026 parameters; 0.2742 GMACs per 32x32 image.
Digits: 32x32 images, 8 epochs; dropout_rate=0.0, final_act=False, kernel_init=he_normal.
What is the paper's and what is ours: jaxcnn/config/recipes/nin.py.

  python -m jaxcnn.main --config=configs/nin_svhn.py       # offline digits
  python -m jaxcnn.main --config=configs/nin_svhn.py:svhn  # paper's recipe

By a recipe of ours: :glyphs, :synthetic, :mnist, :fashion_mnist, :cifar10 and :cifar100.
"""

from jaxcnn.config.recipes import recipe


def get_config(dataset="digits"):
    return recipe("nin_svhn", dataset)
