"""ResNet-20 for CIFAR (He et al. 2015, arXiv 1512.03385)."""

from jaxcnn import recipes


def get_config(dataset="digits"):
    return recipes.resnet("cifar_resnet20", dataset)
