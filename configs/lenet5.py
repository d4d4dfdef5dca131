"""LeNet-5 in today's form (after LeCun et al. 1998)."""

from jaxcnn import recipes


def get_config(dataset="digits"):
    return recipes.lenet("lenet5_modern", dataset)
