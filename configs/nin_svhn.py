"""Network in Network for SVHN.

Lin, Chen and Yan, "Network In Network", 2013, arXiv 1312.4400.

SVHN test error 2.35 % in the paper, without augmentation. Rates and decay here are those of the
authors' code; the length is ours, and so is the channel mean instead of local contrast
normalisation.
1,986,026 parameters; 274.24 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/nin_svhn.py            # digits, offline
  python -m jaxcnn.main --config=configs/nin_svhn.py:synthetic  # made-up images
  python -m jaxcnn.main --config=configs/nin_svhn.py:svhn       # rates of the authors' code

By a recipe of ours: :mnist, :fashion_mnist, :cifar10 and :cifar100.
"""

from jaxcnn.config import recipes


def get_config(dataset="digits"):
    return recipes.nin("nin_svhn", dataset)
