"""Compares single operations: value and both gradients, ours, XLA's and torch's."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from jaxcnn.benchmark.rounds import Contender, peak_memory, seconds_per_step
from jaxcnn.errors import UserError
from jaxcnn.layers.norm import BatchNorm
from jaxcnn.ops.conv import conv_general_dilated
from jaxcnn.ops.conv_cpu_grad import LAYOUT
from jaxcnn.ops.lrn import local_response_norm
from jaxcnn.ops.pool import max_pool
from jaxcnn.run import distributed

Arrays = tuple[np.ndarray, ...]


class Operation(NamedTuple):
    """One operation in three libraries.

    Attributes:
      shapes: shapes of the arguments: one image (H, W, C) of the batch, then parameters.
      ours: function of this package.
      library: function of jax.lax or Flax.
      torch: (torch, arguments) → output; images (N, C, H, W), kernels (O, I, H, W).
    """

    shapes: tuple[tuple[int, ...], ...]
    ours: Callable[..., jax.Array]
    library: Callable[..., jax.Array]
    torch: Callable[..., Any]


def convolution(
    size: int,
    inputs: int,
    features: int,
    kernel: tuple[int, int],
    stride: int = 1,
    groups: int = 1,
    pads: tuple[int, int] | None = None,
) -> Operation:
    """Returns a convolution; without `pads` the padding is half of the kernel."""
    pads = pads or (kernel[0] // 2, kernel[1] // 2)
    arguments: dict[str, Any] = {
        "window_strides": (stride, stride),
        "padding": tuple((pad, pad) for pad in pads),
        "dimension_numbers": LAYOUT,
        "feature_group_count": groups,
    }
    return Operation(
        ((size, size, inputs), (*kernel, inputs // groups, features)),
        partial(conv_general_dilated, **arguments),
        partial(lax.conv_general_dilated, **arguments),
        lambda torch, x, w: torch.nn.functional.conv2d(x, w, None, stride, pads, 1, groups),
    )


def pooling(size: int, channels: int, window: int, stride: int, pad: int) -> Operation:
    """Returns a max-pooling."""
    windows, strides = (window, window), (stride, stride)
    return Operation(
        ((size, size, channels),),
        lambda x: max_pool(x, windows, strides, padding=pad),
        lambda x: nn.max_pool(x, windows, strides, ((pad, pad), (pad, pad))),
        lambda torch, x: torch.nn.functional.max_pool2d(x, window, stride, pad),
    )


def normalisation(size: int, channels: int) -> Operation:
    """Returns BatchNorm with batch statistics, and ReLU."""

    def norm(module: nn.Module, x: jax.Array, scale: jax.Array) -> jax.Array:
        variables = {"params": {"scale": scale, "bias": jnp.zeros_like(scale)}}
        statistics = {"mean": jnp.zeros_like(scale), "var": jnp.ones_like(scale)}
        variables["batch_stats"] = statistics
        return nn.relu(module.apply(variables, x, mutable=["batch_stats"])[0])

    def of_torch(torch: Any, x: Any, scale: Any) -> Any:
        zeros = torch.zeros_like(scale)
        functions = torch.nn.functional
        return functions.relu(functions.batch_norm(x, None, None, scale, zeros, training=True))

    ours, flax = (
        partial(norm, kind(use_running_average=False)) for kind in (BatchNorm, nn.BatchNorm)
    )
    return Operation(((size, size, channels), (channels,)), ours, flax, of_torch)


def response_normalisation(size: int, channels: int) -> Operation:
    """Returns AlexNet's LRN."""

    def by_windows(x: jax.Array) -> jax.Array:
        sums = lax.reduce_window(x**2, 0.0, lax.add, (1, 1, 1, 5), (1,) * 4, "SAME")
        return x / (2 + 1e-4 * sums) ** 0.75

    return Operation(
        ((size, size, channels),),
        local_response_norm,
        by_windows,
        lambda torch, x: torch.nn.functional.local_response_norm(x, 5, 5e-4, 0.75, 2.0),
    )


OPERATIONS: dict[str, Operation] = {
    "depthwise_3x3_256_28": convolution(28, 256, 256, (3, 3), groups=256),
    "depthwise_3x3s2_256_28": convolution(28, 256, 256, (3, 3), 2, groups=256),
    "grouped_3x3_g32_128_56": convolution(56, 128, 128, (3, 3), groups=32),
    "grouped_3x3_g32_512_14": convolution(14, 512, 512, (3, 3), groups=32),
    "grouped_5x5_g2_256_27": convolution(27, 96, 256, (5, 5), groups=2),
    "conv_1x1_256_64_56": convolution(56, 256, 64, (1, 1)),
    "conv_3x3_64_56": convolution(56, 64, 64, (3, 3)),
    "conv_3x3_512_14": convolution(14, 512, 512, (3, 3)),
    "conv_3x3_512_2": convolution(2, 512, 512, (3, 3)),
    "stem_7x7s2_224": convolution(224, 3, 64, (7, 7), 2),
    "max_pool_3x3s2_64_112": pooling(112, 64, 3, 2, 1),
    "batch_norm_relu_64_112": normalisation(112, 64),
    "lrn_96_55": response_normalisation(55, 96),
}


def _arrays(operation: Operation, batch: int) -> Arrays:
    generator = np.random.default_rng(0)
    images, *parameters = operation.shapes
    shapes = [(batch, *images), *parameters]
    return tuple(generator.normal(size=shape).astype(np.float32) for shape in shapes)


def contenders(
    name: str, operation: Operation, batch: int, dtype: str, against: Sequence[str]
) -> list[Contender]:
    """Returns the contenders of an operation after their first step and a check of equal results.

    Args:
      name: of the operation, for messages.
      operation: what is timed.
      batch: number of images.
      dtype: "float32" or "bfloat16".
      against: "xla" and "torch", or none.

    Raises:
      UserError: if their outputs differ.
    """
    arguments = [jnp.asarray(x, dtype) for x in _arrays(operation, batch)]
    found, outputs = [], []
    functions = {"jaxcnn": operation.ours, "xla": operation.library}
    for who, function in functions.items():
        if who == "jaxcnn" or who in against:
            contender, output = _in_jax(who, function, arguments)
            found.append(contender)
            outputs.append(output)
    if "torch" in against:
        contender, output = _in_torch(operation, arguments)
        found.append(contender)
        outputs.append(output)
    limit = 1e-3 if dtype == "float32" else 0.1
    for contender, output in zip(found, outputs, strict=True):
        apart = np.abs(output - outputs[0]).max() / np.abs(outputs[0]).max()
        if not apart <= limit:
            raise UserError(f"{name}: {contender.name} has another output: no time is reported")
    return found


def _in_jax(
    who: str, function: Callable[..., jax.Array], arguments: Sequence[jax.Array]
) -> tuple[Contender, np.ndarray]:
    began = time.perf_counter()

    @jax.jit
    def step(*arguments: jax.Array) -> Any:
        output, pull = jax.vjp(function, *arguments)
        return output, pull(output)

    compiled = step.lower(*arguments).compile()

    one_by_one = distributed.platform() == "cpu"  # like torch; a GPU has a queue

    def run(steps: int) -> Any:
        for _ in range(steps):
            result = compiled(*arguments)
            if one_by_one:
                jax.block_until_ready(result)
        return jax.block_until_ready(result)

    output = np.asarray(run(1)[0], np.float32)
    return Contender(who, run, time.perf_counter() - began, peak_memory(compiled)), output


def _in_torch(operation: Operation, arguments: Sequence[jax.Array]) -> tuple[Contender, np.ndarray]:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tried = []
    for layout in (torch.channels_last, torch.contiguous_format):
        began = time.perf_counter()
        leaves: list[Any] = []
        for argument in arguments:
            leaf = torch.tensor(np.asarray(argument, np.float32)).to(device)
            if leaf.ndim == 4 and not leaves:
                leaf = leaf.permute(0, 3, 1, 2).contiguous(memory_format=layout)
            elif leaf.ndim == 4:
                leaf = leaf.permute(3, 2, 0, 1).contiguous(memory_format=layout)
            narrow = argument.dtype == jnp.bfloat16
            leaf = leaf.to(torch.bfloat16) if narrow else leaf
            leaves.append(leaf.requires_grad_())

        def run(steps: int, leaves: list[Any] = leaves) -> Any:
            for _ in range(steps):
                for leaf in leaves:
                    leaf.grad = None
                output = operation.torch(torch, *leaves)
                output.backward(output.detach())
            if device == "cuda":
                torch.cuda.synchronize()
            return output

        output = run(1).detach().float().cpu().permute(0, 2, 3, 1).numpy()
        name = "torch, channels_last" if layout is torch.channels_last else "torch, contiguous"
        contender = Contender(name, run, time.perf_counter() - began)
        run(1)
        seconds = min(seconds_per_step(contender, 2) for _ in range(3))
        tried.append((seconds, contender, output))
    _, contender, output = min(tried, key=lambda one: one[0])
    return contender, output
