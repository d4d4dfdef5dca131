"""The handwritten digits inside scikit-learn: 1,797 images of 8×8, no download.

Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998. A pixel counts the set
bits in a 4×4 block of a 32×32 bitmap, so it is 0 to 16.
"""

import numpy as np

from jaxcnn.data.dataset import Dataset, split_holdout

NUM_TEST = 360  # a fifth, stratified by class


def load_digits(
    split: str, *, image_size: int = 32, channels: int = 1, holdout: int = 0
) -> Dataset:
    """Returns 1,437 training or 360 test digits, uint8 [image_size, image_size, channels].

    Args:
      split: "train", "validation" (held out of training) or "test".
      image_size: side in pixels; the 8×8 originals are enlarged bilinearly.
      channels: 1, or 3 equal ones.
      holdout: number of training examples for the validation split, stratified by class.

    Raises:
      UserError: if the holdout does not fit.
    """
    import sklearn.datasets
    from sklearn.model_selection import train_test_split

    digits = sklearn.datasets.load_digits()
    train, test = train_test_split(
        np.arange(len(digits.target)), test_size=NUM_TEST, stratify=digits.target, random_state=0
    )
    chosen = test if split == "test" else train
    images = [_enlarge(digits.images[number], image_size) for number in chosen]
    labels = digits.target[chosen].astype(np.int32)
    dataset = Dataset(
        name="digits",
        split=split,
        num_examples=len(chosen),
        num_classes=10,
        image_shape=(image_size, image_size, channels),
        class_names=tuple("0123456789"),
        describe=lambda index: f"digits image {chosen[index]}",
        images=np.repeat(np.stack(images)[..., None], channels, axis=-1),
        labels=labels,
    )
    return dataset if split == "test" else split_holdout(dataset, split, holdout, labels=labels)


def _enlarge(image: np.ndarray, size: int) -> np.ndarray:
    from PIL import Image

    grey = Image.fromarray(np.round(image * (255 / 16)).astype(np.uint8))
    return np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR))
