"""torchvision's and timm's networks as contenders, each in its fastest form on this machine."""

import copy
import importlib
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxcnn.benchmark.networks import LEARNING_RATE, MOMENTUM, Work
from jaxcnn.benchmark.rounds import Contender, seconds_per_step
from jaxcnn.errors import UserError
from jaxcnn.interop import from_torch
from jaxcnn.interop.name_tables import LIBRARIES

FORMS = ("eager", "compile")
LAYOUTS = ("channels_last", "contiguous")


class Peer(NamedTuple):
    """A torch network and ours with the same weights.

    Attributes:
      library: "torchvision" or "timm".
      network: the torch module.
      model: our network, without dropout.
      variables: weights of our network.
    """

    library: str
    network: Any
    model: nn.Module
    variables: Mapping[str, Any]


def check_torch(threads: int) -> None:
    """Gives torch the same cores as XLA; raises `UserError` if it is not installed."""
    try:
        import torch
    except ImportError:
        raise UserError("torch is not installed: --against=none, or pip install torch") from None
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True  # tries its kernels, like XLA
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, like XLA and torch's convolutions


def their_name(name: str, libraries: Sequence[str]) -> tuple[str, str]:
    """Returns the first library that has the network of our name, and its name there.

    Raises:
      UserError: if no library has it.
    """
    for library in libraries:
        theirs = [theirs for theirs, known in LIBRARIES[library].items() if known.model == name]
        if theirs:
            return library, name if name in theirs else theirs[0]
    raise UserError(f"{' and '.join(libraries)} have no {name}: --against=none")


def find(name: str, libraries: Sequence[str], dtype: str) -> Peer:
    """Returns the torch network of our name, and our network with its fields and weights.

    Raises:
      UserError: if no library has it, or the library is not installed.
    """
    library, theirs = their_name(name, libraries)
    network = create(library, theirs)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    model, variables = from_torch(state, library, theirs, dtype=jnp.dtype(dtype))
    return Peer(library, network, model, variables)


def create(library: str, name: str) -> Any:
    """Returns the library's network with random weights, without dropout.

    Raises:
      UserError: if the library cannot be imported.
    """
    loaded = load(library)
    import torch

    torch.manual_seed(0)
    if library == "timm":
        network = loaded.create_model(name)
    else:
        fields = {}
        if name in ("googlenet", "inception_v3"):
            fields = {"aux_logits": False, "init_weights": True}
        network = loaded.models.get_model(name, weights=None, **fields)
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return network


def load(library: str) -> Any:
    """Imports "torchvision" or "timm"; raises `UserError` if that fails."""
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise UserError(f"{library} cannot be imported: {error}") from None


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def make_step(network: Any, work: Work, layout: str, compiled: bool = False) -> Callable[[], Any]:
    """Returns a function that runs one step and returns its loss or logits, a tensor."""
    import torch

    device = _device()
    formats = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    network = copy.deepcopy(network).to(device, memory_format=formats[layout])
    network = network.double() if work.dtype == "float64" else network
    images = torch.tensor(work.images).permute(0, 3, 1, 2)
    images = images.contiguous(memory_format=formats[layout]).to(device)
    labels = torch.tensor(work.labels, dtype=torch.long, device=device)
    narrow = work.dtype == "bfloat16"
    network.train(work.mode == "train")
    called = torch.compile(network) if compiled else network
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, momentum=MOMENTUM)

    def train() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=narrow):
            loss = torch.nn.functional.cross_entropy(called(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    def infer() -> Any:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=narrow):
            return called(images)

    return train if work.mode == "train" else infer


def losses(peer: Peer, work: Work, steps: int) -> list[float]:
    """Returns the losses of `steps` steps."""
    step = make_step(peer.network, work, "contiguous")
    return [step().item() for _ in range(steps)]


def contender(peer: Peer, work: Work, forms: Sequence[str]) -> Contender:
    """Times the forms in both layouts; returns the fastest one, after a first step.

    Args:
      peer: see `find`.
      work: work of one turn.
      forms: some of `FORMS`.
    """
    import torch

    found: list[tuple[float, Contender]] = []
    for form, layout in itertools.product(forms, LAYOUTS):
        began = time.perf_counter()
        if _device() == "cuda":
            torch.cuda.reset_peak_memory_stats()
        step = make_step(peer.network, work, layout, form == "compile")

        def run(steps: int, step: Callable[[], Any] = step) -> None:
            for _ in range(steps):
                step()
            if _device() == "cuda":
                torch.cuda.synchronize()

        try:
            run(1)
        except Exception as error:
            if form != "compile":
                raise
            reason = str(error).strip().splitlines()[-1]
            print(f"torch.compile cannot: {reason}", file=sys.stderr)
            continue
        seconds = time.perf_counter() - began
        run(1)
        memory = torch.cuda.max_memory_allocated() if _device() == "cuda" else None
        tried = Contender(f"{peer.library}, {form}, {layout}", run, seconds, memory)
        found.append((min(seconds_per_step(tried, 1) for _ in range(2)), tried))
    return min(found, key=lambda pair: pair[0])[1]


def agree(ours: Sequence[float], theirs: Sequence[float], name: str) -> None:
    """Raises `UserError` if the losses of two runs are too different for the same network."""
    apart = float(np.max(np.abs(np.subtract(ours, theirs))))
    if not apart <= 1e-3:
        raise UserError(
            f"{name}: from the same weights the losses differ by {apart:.2g} within {len(ours)}"
            " steps: no time is reported"
        )
