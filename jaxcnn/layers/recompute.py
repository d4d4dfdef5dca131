"""Modules whose backward pass computes their layers again, to hold less memory."""

from functools import partial

from flax import linen as nn

from jaxcnn.layers.conv import Constructor


def recomputed(constructor: Constructor) -> Constructor:
    """Returns a constructor of the same modules that keep only their inputs for the backward pass.

    The backward pass computes everything inside such a module a second time. Variables and numbers
    are the same. Chen, Xu, Zhang and Guestrin, "Training Deep Nets with Sublinear Memory Cost",
    2016, arXiv 1604.06174, §3. XLA:CPU of jax 0.11.0 and earlier undoes it, and takes more memory,
    unless its option `xla_disable_hlo_passes` is `cse_barrier_expander`: in `compiler_options` of
    `jax.jit`, as a run sets it, or in `XLA_FLAGS`.

    Args:
      constructor: a class of modules, or a partial of one.
    """
    if isinstance(constructor, partial):
        return partial(recomputed(constructor.func), *constructor.args, **constructor.keywords)
    return nn.remat(constructor)
