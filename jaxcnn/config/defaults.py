"""Configs: every field with its default, and data-set presets; `recipes` has the papers' values.

Lengths are texts such as "90epochs", "64000steps" or "never". Learning rates are given for
`schedule.reference_batch`.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcnn.io import paths

LOG = logging.getLogger("jaxcnn")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def base_config() -> ConfigDict:
    """Returns every field there is, with the default that a recipe starts from."""
    config = ConfigDict()
    config.seed = 0
    config.dataset = ""  # label of the preset; part of the default workdir
    # Fine-tuning: a folder of jaxcnn.interop.convert, or the workdir of an earlier run.
    config.init_from = ""
    # Which weights of init_from, if not all: regular expressions of the own parameters, all others
    # start afresh; pairs of one and its replacement where they have another name there; or "vgg_a".
    config.init_map = ()
    config.allow_change = ""  # fields or sections, with commas, that a resumed run may change
    config.debug_nans = False  # stop in the operation that makes a NaN (slow)
    config.matmul_precision = (
        "default"  # of float32 on accelerators: default | tensorfloat32 | float32
    )

    config.model = model = ConfigDict()
    # See jaxcnn.list_models(); timm/NAME and torchvision/NAME are as theirs. A network of your own
    # is MODULE:NETWORK, for example mypackage.mynet:MyNet.
    model.name = ""
    model.dtype = "float32"  # of the computation: float32 | bfloat16 | float64
    # Of all convolutions, instead of the network's own; see jaxcnn.layers.initializers. The dense
    # layers start as ever.
    model.kernel_init = ""
    # Any other field: --config.model.overrides.dropout_rate=0.2. Of those that are functions two
    # can be set by name, `act` (jaxcnn.layers.activations) and `conv` (jaxcnn.layers.factorised):
    # --config.model.overrides.act=elu
    model.overrides = ConfigDict()

    config.data = data = ConfigDict()
    data.kind = "digits"  # digits | synthetic | folder | tfds
    data.name = ""  # of a TFDS data set
    data.dir = ""  # of a folder, or of TFDS's data; "" is TFDS's own default
    data.image_size = 32  # pixels
    data.eval_image_size = 0  # of networks that average over any map; 0 is image_size
    # Of training images, if it changes: pairs of a share of the run and the size from there on,
    # ((0.0, 128), (0.4, 160), (0.7, 224)) for example; scale_range goes along, pad stays.
    data.size_schedule = ()
    data.channels = 3
    data.num_classes = 10  # of synthetic data; the others know theirs
    data.num_examples = 2048  # of each synthetic split
    data.train_split = "train"  # TFDS's names; of several splits together "train+extra"
    data.test_split = "test"
    data.holdout = 0  # training examples set apart as split "validation", evaluated during training
    # Instead, of TFDS's data: so many of each class, for each part of train_split, as (400, 200).
    data.holdout_per_class = ()
    # Semi-supervised training. Of how many training examples the label is used, equally many of
    # each class, drawn by the run's seed; 0 is all. Then how many further rows of the batch, drawn
    # from all examples and without label, follow each row with one; an epoch is one pass over them.
    # 0 trains on the labelled examples alone, which then are the epoch.
    data.labelled = 0
    data.unlabelled_per_labelled = 0
    data.train_crop = "resize"  # resize | random_resized | scale_jitter | frame | none
    data.eval_crop = "resize"  # resize | center | frame | none
    data.resize = 0  # short side before the centre crop; 0 is image_size·256/224
    data.scale_range = (256, 480)  # short sides of scale_jitter
    data.mean = (0.5,)  # of pixels in [0, 1], per channel or one for all
    data.std = (0.5,)
    # What the network sees: (x - mean) / std by "channels"; a "mean_image" of the training split
    # instead of the mean; each image's contrast normalised, "gcn"; that and whitened, "zca".
    data.preprocess = "channels"
    data.gcn_scale = 55.0  # length of an image's values
    data.zca_epsilon = 0.1
    # Augmentation, in this order; data/augmentation says what is what.
    data.policy = "none"  # | randaugment | trivialaugment
    data.policy_operations = 2  # of randaugment
    data.policy_magnitude = 9.0  # of randaugment, 10 being the strongest
    data.color_jitter = 0.0  # fb.resnet: 0.4
    data.photometric = 0.0  # brightness, contrast, saturation, hue; Inception: 1.0
    data.lighting = 0.0  # AlexNet: 0.1
    data.pad = 0  # pixels around before a random crop of the same size
    data.pad_mode = "constant"  # constant | reflect
    data.translate = 0.0  # the same, as a share of the side
    data.flip = False
    data.vertical_flip = False
    data.erase = 0.0  # probability of erasing a part
    data.erase_area = (0.02, 0.4)  # of the image
    data.erase_fill = "noise"  # | mean
    data.mixup = 0.0  # α of the Beta distribution that shares are drawn from; 0 is off
    data.cutmix = 0.0  # likewise; with both, each image takes one of them
    data.mix_probability = 1.0
    # Views of each example in a batch. An epoch stays as many rows as there are examples, so the
    # examples come round once in so many epochs.
    data.repeats = 1
    data.num_workers = 0  # processes that decode; 0 is a thread
    data.max_bad_fraction = 0.001  # unreadable images before the run stops

    config.optimizer = optimizer = ConfigDict()
    optimizer.name = "sgd"  # sgd | rmsprop | adam | adamw | lars | lamb
    optimizer.momentum = 0.9
    optimizer.nesterov = False
    optimizer.rms_decay = 0.9  # rmsprop
    optimizer.epsilon = 1e-8  # rmsprop, adam, adamw, lamb
    optimizer.beta1 = 0.9  # adam, adamw, lamb
    optimizer.beta2 = 0.999
    optimizer.weight_decay = 1e-4
    optimizer.decay_mask = ("kernel$",)  # regular expressions; what matches any decays
    optimizer.clip_norm = 0.0  # of the whole gradient; 0 is off
    # Multiples of the learning rate, (("bias$", 2.0), ("^classifier/", 0.1)) for example, of all
    # that match; factors of several that match are multiplied.
    optimizer.rate_factors = ()
    # Regular expressions of what keeps every bit, ("^stem/", "^stage1/") or ("^(?!classifier/)",)
    # for example, of parameters and of BatchNorm's statistics, which then also normalise training.
    # No gradient is taken there. Dropout remains.
    optimizer.freeze = ()
    # ZFNet: 0.1. Filters whose root mean square is above are scaled to it after each step; 0 is off
    optimizer.max_rms = 0.0
    optimizer.max_rms_mask = ("kernel$",)  # of what the filters are, as decay_mask

    config.schedule = schedule = ConfigDict()
    schedule.name = "cosine"  # constant | step | exponential | cosine | polynomial | plateau
    schedule.learning_rate = 0.1
    schedule.reference_batch = 0  # batch size that the rate is for; 0 takes it as it is
    schedule.boundaries = ()  # step: lengths
    schedule.factor = 0.1  # step, exponential, plateau: one drop
    schedule.every = "never"  # exponential: length between drops
    schedule.final_fraction = 0.0  # cosine, polynomial: of the peak, at the end
    schedule.power = 1.0  # polynomial
    schedule.warmup = "0steps"
    schedule.warmup_kind = "linear"  # linear | constant
    schedule.warmup_fraction = 0.0  # of the peak, at the start
    schedule.patience = 5  # plateau: evaluations without improvement before a drop
    schedule.threshold = 1e-4  # plateau: the least that counts as improvement
    schedule.max_drops = 3  # plateau
    schedule.metric = "top1"  # plateau: top1 | top5 (as errors) | loss

    config.loss = loss = ConfigDict()
    loss.name = "cross_entropy"  # | squared_hinge | squared_error | rbf_mse | rbf_map
    loss.label_smoothing = 0.0
    loss.aux_weight = 0.3  # of each auxiliary head
    loss.aux_threshold = 0.0  # loss of a head below which it no longer counts
    loss.aux_decay = "none"  # | linear: the weight falls to zero over the run

    config.train = train = ConfigDict()
    train.length = "10epochs"
    train.batch_size = 64  # global
    train.accumulate = 1  # microbatches per step and device
    train.steps_per_call = 1  # run as one program, up to the next record, evaluation or checkpoint
    train.ema_decay = 0.0  # moving average of weights and statistics; 0 is off
    train.ema_warmup = True
    train.sync_bn = False  # BatchNorm over the global batch instead of each device's share
    train.max_skipped = 10  # steps in a row with non-finite values before the run stops
    train.watchdog_seconds = 1800.0  # several processes: none may hang longer; 0 is off

    config.eval = evaluation = ConfigDict()
    evaluation.every = "1epochs"
    # In images of image_size, global, rounded up to the devices: several views count as several.
    evaluation.batch_size = 256
    # Of the result: at the end of a run and with --mode=evaluate. During training the crop of
    # evaluation is enough, which is "center".
    # center | flip | ten_crop | multi_crop | googlenet144 | dense | multi_scale_dense; see
    # jaxcnn.evaluation.multicrop
    evaluation.protocol = "center"
    # Short sides in pixels of all but the first two; () takes the paper's scales for image_size,
    # or where it has a single one the short side that data.resize says.
    evaluation.scales = ()
    # Before each evaluation the statistics of BatchNorm, of the averaged weights if there are any,
    # become the means over so many training batches; 0 leaves them.
    evaluation.recalibrate_batches = 0

    config.checkpoint = checkpoint = ConfigDict()
    checkpoint.every = "1epochs"
    checkpoint.keep_latest = 2
    checkpoint.keep_best = 1  # a better evaluation is saved at once
    checkpoint.metric = "top1"  # higher is better: top1 | top5 (of EMA weights if there are any)

    config.log = log = ConfigDict()
    log.every = "20steps"
    log.tensorboard = False
    return config


def data_label(config: ConfigDict) -> str:
    """Returns what the default workdir is called by: the data set, or the name of its folder."""
    section = config.data
    if section.kind == "folder" and section.dir:
        return Path(paths.expand(section.dir)).resolve().name or config.dataset
    if section.kind == "tfds" and config.dataset not in DATASETS:
        return section.name.replace("/", "-").replace(":", "-") or config.dataset
    return config.dataset


get_config = base_config  # for the command line, where a workdir says the rest


def from_saved(saved: dict[str, Any]) -> ConfigDict:
    """Returns the config of a workdir; fields that it does not have yet get their defaults.

    Fields that this version does not have are left out, which the log says.
    """
    config = base_config()
    unknown = unknown_fields(saved)

    def fill(section: ConfigDict, values: dict[str, Any], prefix: str = "") -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if isinstance(value, dict) and isinstance(section.get(key), ConfigDict):
                fill(section[key], value, f"{name}.")
            elif name not in unknown:
                section[key] = _tuples(value)

    fill(config, saved)
    if unknown:
        LOG.warning(
            "the saved config has fields that this version of jaxcnn does not have, which are left"
            " out: %s",
            ", ".join(f"{name}={value!r}" for name, value in unknown.items()),
        )
    return config


def unknown_fields(saved: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a saved config that there are not, by their full names."""
    found: dict[str, Any] = {}

    def look(section: ConfigDict, values: dict[str, Any], prefix: str) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if key not in section:
                found[name] = value
            elif isinstance(value, dict) and name != "model.overrides":
                look(section[key], value, f"{name}.")

    look(base_config(), saved, "")
    return found


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def to_saved(config: ConfigDict) -> dict[str, Any]:
    """Returns a config as JSON values (tuples become lists)."""
    return json.loads(config.to_json())


# Data sets --------------------------------------------------------------------------------------


def _digits(config: ConfigDict) -> None:
    config.data.update(kind="digits", image_size=32, channels=1, mean=(0.305,), std=(0.34,))


def _synthetic(config: ConfigDict) -> None:
    config.data.update(kind="synthetic", image_size=32, channels=3)


def _folder(config: ConfigDict) -> None:
    config.data.update(kind="folder", image_size=224, num_workers=4, flip=True)
    config.data.update(train_crop="random_resized", eval_crop="center")
    config.data.update(mean=IMAGENET_MEAN, std=IMAGENET_STD)


def _imagenet2012(config: ConfigDict) -> None:
    _folder(config)
    config.data.update(kind="tfds", name="imagenet2012", test_split="validation", num_classes=1000)
    config.data.update(num_workers=16)
    config.log.every = "100steps"


def _small_tfds(
    name: str, num_classes: int, mean: tuple[float, ...], std: tuple[float, ...], size: int = 32
) -> Callable[[ConfigDict], None]:
    def preset(config: ConfigDict) -> None:
        config.data.update(kind="tfds", name=name, image_size=size, channels=len(mean))
        config.data.update(train_crop="none", eval_crop="none", mean=mean, std=std)
        config.data.update(num_classes=num_classes, num_workers=2)
        config.log.every = "100steps"

    return preset


# Training examples that are held out, as split "validation", of runs that change by evaluations.
HOLDOUTS = {
    "digits": 144,
    "synthetic": 256,
    "imagenet2012": 10_000,
    "mnist": 5_000,
    "fashion_mnist": 5_000,
    "svhn": 6_000,
    "cifar10": 5_000,
    "cifar100": 5_000,
}

DATASETS: dict[str, Callable[[ConfigDict], None]] = {
    "digits": _digits,
    "synthetic": _synthetic,
    "folder": _folder,
    "imagenet2012": _imagenet2012,
    "mnist": _small_tfds("mnist", 10, (0.1307,), (0.3081,), size=28),
    "fashion_mnist": _small_tfds("fashion_mnist", 10, (0.2860,), (0.3530,), size=28),
    "svhn": _small_tfds("svhn_cropped", 10, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": _small_tfds("cifar10", 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": _small_tfds("cifar100", 100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
