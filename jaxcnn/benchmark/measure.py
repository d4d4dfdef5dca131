"""Measures one row of the benchmark: builds contenders, checks that they agree, times them."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from jaxcnn.benchmark import feed, networks, operations, peers, random_operations
from jaxcnn.benchmark.random_operations import Drawn
from jaxcnn.benchmark.report import Measured
from jaxcnn.benchmark.rounds import interleave
from jaxcnn.errors import UserError, nearest
from jaxcnn.models import create_model, list_models

STEPS = 5  # steps whose losses are compared


def names(flags: argparse.Namespace) -> Sequence[str]:
    """Returns the names in a comma-separated list; "all" is all operations, the input has one name.

    With --random the names are those of the drawn operations.

    Raises:
      UserError: if a name does not exist here or in the other library, or the input needs
        torchvision, which cannot be imported.
    """
    text, mode = flags.model, flags.mode
    if mode == "input":
        if flags.against:
            feed.check_torchvision()
        return ["input"]
    known = list(_operations(flags)) if mode == "op" else list_models()
    found = known if text == "all" and mode == "op" else text.split(",")
    for name in found:
        if mode == "op" and name not in known:
            raise UserError(f"no operation {name!r}: {nearest(name, known)}")
        if mode != "op":
            create_model(name, **fields(flags))
            if libraries(flags):
                peers.their_name(name, libraries(flags))
    return found


def _operations(flags: argparse.Namespace) -> Mapping[str, Drawn]:
    """Returns the operations by name, each with its batch: the drawn ones, or `OPERATIONS`."""
    if flags.random:
        return random_operations.draw(flags.random)
    return {name: Drawn(one, flags.batch) for name, one in operations.OPERATIONS.items()}


def fields(flags: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields that the flags set in every network."""
    return {"remat": True} if flags.remat else {}


def libraries(flags: argparse.Namespace) -> Sequence[str]:
    """Returns the torch libraries in which a network is searched, in order."""
    if "torch" in flags.against:
        return ["torchvision", "timm"]
    return [other for other in flags.against if other != "xla"]


def measure(name: str, flags: argparse.Namespace, threads: int) -> Measured:
    """Measures a network, an operation or the input pipeline, with its contenders.

    Raises:
      UserError: if the contenders compute different results.
    """
    if flags.mode == "input":
        size = flags.size or 224
        return feed.measure(flags.batch, size, threads, flags.against, flags.rounds, flags.seconds)

    if flags.mode == "op":
        against = ["xla" if other == "xla" else "torch" for other in flags.against]
        operation, batch = _operations(flags)[name]
        found = operations.contenders(name, operation, batch, flags.dtype, against)
        times = interleave(found, flags.rounds, flags.seconds)
        return Measured(name, batch, found, times)

    work = networks.make_work(name, flags.mode, flags.batch, flags.size, flags.dtype)
    known = libraries(flags)
    peer = peers.find(name, known, flags.dtype) if known else None
    if peer is None:
        model = create_model(name, dtype=jnp.dtype(flags.dtype))
        variables = networks.initialise(model, work)
    else:
        model, variables = peer.model, peer.variables
    model = networks.without_dropout(model).clone(**fields(flags))
    flops = networks.floating_operations(model, work)  # refuses images that are too small
    if peer is not None:
        exactly = networks.few_in_doubles(name, flags.size)
        ours = networks.losses(model, variables, exactly, STEPS)
        peers.agree(ours, peers.losses(peer, exactly, STEPS), name)

    found = [networks.contender("jaxcnn", model, variables, work)]
    if "xla" in flags.against:
        plain = networks.with_library_convolutions(model)
        found.append(networks.contender("xla", plain, variables, work))
    if peer is not None:
        found.append(peers.contender(peer, work, flags.forms))
    times = interleave(found, flags.rounds, flags.seconds)
    return Measured(name, flags.batch, found, times, flops)
