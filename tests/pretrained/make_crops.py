"""Makes crops.npz: photographs as torchvision's transforms crop them; run by hand, needs torch.

python tests/pretrained/make_crops.py
"""

from pathlib import Path

import numpy as np
import PIL.Image
from sklearn.datasets import load_sample_images
from torchvision import transforms

SIZES = [(48, 48), (48, 55), (40, 64)]  # side of the square, short side


def photographs():
    """Two photographs, one of them upright, and a part that is smaller than the crops."""
    china, flower = load_sample_images().images
    return {"china": china, "flower": flower.transpose(1, 0, 2), "small": china[100:139, 200:231]}


def crop(pixels, size, resize, interpolation):
    mode = transforms.InterpolationMode(interpolation)
    way = transforms.Compose([transforms.Resize(resize, mode), transforms.CenterCrop(size)])
    return np.asarray(way(PIL.Image.fromarray(pixels)))


if __name__ == "__main__":
    found = {
        f"{name}/{size}/{resize}/{interpolation}": crop(pixels, size, resize, interpolation)
        for name, pixels in photographs().items()
        for size, resize in SIZES
        for interpolation in ("bilinear", "bicubic")
    }
    np.savez_compressed(Path(__file__).with_name("crops.npz"), **found)
