"""Network in Network for SVHN.

Lin, Chen and Yan, "Network In Network", 2013, arXiv 1312.4400.

SVHN test error 2.35 % in the paper, without augmentation. There is no recipe for SVHN here.
1,986,026 parameters; 274.24 MMACs per 32x32 image.

  python -m jaxcnn.main --config=configs/nin_svhn.py            # digits, offline
  python -m jaxcnn.main --config=configs/nin_svhn.py:synthetic  # made-up images
"""

from jaxcnn import papers


def get_config(dataset="digits"):
    return papers.nin("nin_svhn", dataset)
