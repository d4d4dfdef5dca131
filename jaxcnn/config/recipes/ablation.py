"""Base of most files in `configs/ablations`: a paper's network on glyphs, for a laptop."""

from ml_collections import ConfigDict

from jaxcnn.config import recipes

EACH_SPLIT = 2160  # images of each split; of training, `examples` are used


def on_glyphs(
    name: str,
    *,
    size: int = 16,
    examples: int = 720,
    epochs: int = 20,
    rate: float = 3e-3,
    sgd: bool = False,
) -> ConfigDict:
    """Returns a network's recipe for a short run with few examples.

    Every seed draws other examples to train on, equally many of each class; 2,160 others are
    tested. Batches have 36 images, which may be shifted by a pixel in 16. A fifth of the run is
    warm-up, then the rate follows a cosine.

    Args:
      name: of the recipe, such as "cifar_resnet20".
      size: side of the images.
      examples: number of training images, a multiple of 36.
      epochs: passes over them.
      rate: the largest learning rate; networks without normalisation need a smaller one.
      sgd: SGD with momentum and decay 1e-4 instead of the recipe's AdamW.
    """
    config = recipes.recipe(name, "glyphs")
    config.data.update(image_size=size, pad=size // 16, channels=3)
    config.data.update(num_examples=EACH_SPLIT, labelled=examples)
    config.train.update(length=f"{epochs}epochs", batch_size=36)
    config.train.max_skipped = 10_000  # a run that diverges is a result
    config.schedule.update(name="cosine", warmup=f"{epochs / 5:g}epochs")
    config.schedule.learning_rate = rate
    if sgd:
        config.optimizer.update(name="sgd", weight_decay=1e-4)
    if "scan_units" in config.model.overrides:
        del config.model.overrides.scan_units  # does not support a variant's dropout
    config.log.every = f"{max(epochs // 20, 1)}epochs"
    config.eval.every = f"{max(epochs // 4, 1)}epochs"
    config.checkpoint.update(every="never", keep_best=0)
    return config
