"""The handwritten digits that ship inside scikit-learn: 1,797 images of 8×8, no download.

Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998: 32×32 bitmaps whose
4×4 blocks were counted, so a pixel is 0 to 16.
"""

import numpy as np

from jaxcnn.data.dataset import Dataset, split_holdout

NUM_TEST = 360  # a fifth, the classes in proportion


def load_digits(
    split: str, *, image_size: int = 32, channels: int = 1, holdout: int = 0
) -> Dataset:
    """Returns 1,437 training or 360 test digits, uint8 [image_size, image_size, channels].

    Args:
      split: "train", "validation" (the part held out of training) or "test".
      image_size: pixels; the 8×8 originals are enlarged bilinearly.
      channels: 1, or 3 for three equal ones.
      holdout: training examples that become the validation split, the classes in proportion.

    Raises:
      UserError: a holdout that does not fit.
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
