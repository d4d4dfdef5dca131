"""DenseNet-121 (Huang et al. 2016, arXiv 1608.06993)."""

from jaxcnn import recipes


def get_config(dataset="digits"):
    return recipes.densenet("densenet121", dataset)
