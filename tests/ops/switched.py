"""The switch `JAXCNN_OPS` within one process, and what to compare under it; for tests."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from jaxcnn.ops.switch import plain_xla

OUR_FORMS = pytest.mark.skipif(
    plain_xla(), reason="asserts a form of jaxcnn's own, which JAXCNN_OPS=xla takes away"
)
OURS = {"custom_vjp_call", "platform_index", "while"}


@contextlib.contextmanager
def operations(value):
    """Sets JAXCNN_OPS; what was traced before is traced again, inside and afterwards."""

    def forget():
        plain_xla.cache_clear()
        jax.clear_caches()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXCNN_OPS", value)
        forget()
        try:
            yield
        finally:
            patch.undo()
            forget()


def ours_in(function, *args):
    """Returns the primitives in a traced function that only our own forms bring there."""

    def primitives(jaxpr):
        for eqn in jaxpr.eqns:
            yield eqn.primitive.name
            for inner in jaxprs_in_params(eqn.params):
                yield from primitives(inner)

    return OURS & set(primitives(jax.make_jaxpr(function)(*args).jaxpr))


def drawn(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), tree)


def dot(a, b):
    return sum(map(jnp.vdot, jax.tree.leaves(a), jax.tree.leaves(b)))


def assert_close(found, expected, tolerance=1e-8):
    def compare(found, expected):
        scale = max(np.abs(expected).max(initial=0), 1e-3)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)

    jax.tree.map(compare, found, expected)
