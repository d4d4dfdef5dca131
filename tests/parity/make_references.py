"""Makes a reference from torchvision or timm; needs torch, torchvision and timm.

  python -m tests.parity.make_references resnext50_grad64 grad torchvision resnext50_32x4d 64

or of a member that has no name, by its constructor (strings that name an attribute of the
constructor's module stand for it) and by the fields that make our network the same:

  python -m tests.parity.make_references densenet_small_grad64 grad torchvision densenet121 64 \\
    --constructor=torchvision.models.densenet.DenseNet \\
    --kwargs='{"growth_rate": 12, "block_config": [2, 2, 2], "num_init_features": 24}' \\
    --overrides='{"growth_rate": 12, "stage_sizes": [2, 2, 2], "stem_features": 24}'

Everything is computed in float64. Kinds:

  forward     evaluation mode, two images: logits, and those of auxiliary heads
  grad        training mode without dropout, eight images, labels 0 to 7, mean cross-entropy: loss,
              norm and one projection of each parameter's gradient, running statistics of the first
              and the last BN (torch's unbiased variance, and Flax's biased one)
  trajectory  ten steps of SGD with momentum 0.9 and decay 1e-4: losses, and the final logits with
              the biased running variance

A tolerance in float32 is 20 times the noise of torch's own float32, at least 1e-5; in float64 it is
1e-9 for losses and gradients, and 1e-6 for what is stored in float32.
"""

import argparse
import importlib
import json
import operator

import numpy as np
import timm
import torch
import torchvision

from tests.parity import references

STEPS, MOMENTUM, DECAY = 10, 0.9, 1e-4


def network(args, **kwargs):
    kwargs |= args.kwargs
    if args.constructor:
        module, _, name = args.constructor.rpartition(".")
        module = importlib.import_module(module)
        named = {
            k: operator.attrgetter(v)(module) if isinstance(v, str) else v
            for k, v in kwargs.items()
        }
        return getattr(module, name)(**named)
    if args.library == "timm":
        return timm.create_model(args.model, pretrained=False, **kwargs)
    return getattr(torchvision.models, args.model)(weights=None, **kwargs)


def fill(model):
    shapes = {
        key: list(value.shape)
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    tensors = {k: torch.tensor(references.tensor(k, tuple(s), shapes)) for k, s in shapes.items()}
    model.load_state_dict(tensors, strict=False)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "drop_rate"):
            module.drop_rate = 0.0
    return shapes


def batch(shape, seed):
    return torch.tensor(references.images(shape, seed).transpose(0, 3, 1, 2).astype(np.float64))


def main_logits(outputs):
    return outputs.logits if hasattr(outputs, "logits") else outputs


def forward(model, shape, args):
    model.eval()
    images = batch(shape, 0)
    with torch.no_grad():
        exact = model(images)
        rounded = model.float()(images.float()).double()
    noise = (rounded - exact).abs().max() / exact.abs().max()
    exponent = float(f"{max(1e-5, 20 * noise.item()):.0e}")
    return {"logits": exact.numpy().astype(np.float32)}, {"tol": exponent, "tol_x64": 1e-6}


class Biased:
    """Watches the last input of a BN, to know the biased variance that Flax averages."""

    def __init__(self, module):
        self.module, self.before = module, module.running_var.clone()
        module.register_forward_pre_hook(lambda _, inputs: setattr(self, "input", inputs[0]))

    def variance(self):
        now = self.input.detach().var((0, 2, 3), unbiased=False)
        return (1 - self.module.momentum) * self.before + self.module.momentum * now


def gradient(model, shape, args):
    model.train()
    norms = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    ends = [next(iter(norms)), list(norms)[-1]] if norms else []
    watched = [Biased(norms[name]) for name in ends]
    logits = main_logits(model(batch(shape, 0)))
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(8))
    loss.backward()
    found = {"loss": loss.item(), "logits": logits.detach().numpy().astype(np.float32)}
    params = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    found["grad_norm"] = [np.linalg.norm(g) for g in params.values()]
    found["grad_proj"] = [
        np.vdot(references.normal(f"grad:{n}", g.shape), g) for n, g in params.items()
    ]
    for end, name, watcher in zip(("first", "last"), ends, watched, strict=False):
        found[f"bn_{end}_mean"] = norms[name].running_mean.numpy().astype(np.float32)
        found[f"bn_{end}_var"] = norms[name].running_var.numpy().astype(np.float32)
        found[f"bn_{end}_var_biased"] = watcher.variance().numpy().astype(np.float32)
    entry = {"tol_x64": 1e-6, "tol_grad_x64": 1e-9, "params": list(params)}
    # The bias of a convolution in front of a BN has no gradient but rounding.
    largest = max(found["grad_norm"])
    entry["grad_zero"] = [
        n for n, norm in zip(params, found["grad_norm"], strict=True) if norm < 1e-12 * largest
    ]
    if ends:
        entry |= {"bn_first": ends[0], "bn_last": ends[1]}
    return found, entry


def trajectory(model, shape, args):
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), args.rate, MOMENTUM, weight_decay=DECAY)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    biased = {m: m.running_var.clone() for m in norms}
    watched = [Biased(m) for m in norms]
    losses = []
    for step in range(STEPS):
        images, labels = batch(shape, step), (torch.arange(8) + step) % 10
        loss = torch.nn.functional.cross_entropy(main_logits(model(images)), labels)
        for watcher in watched:
            watcher.before = biased[watcher.module]
            biased[watcher.module] = watcher.variance()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for module, variance in biased.items():
        module.running_var.copy_(variance)
    model.eval()
    with torch.no_grad():
        logits = model(images)
    found = {"losses": losses, "final_logits_biased_var": logits.numpy().astype(np.float32)}
    sgd = {"lr": args.rate, "momentum": MOMENTUM, "weight_decay": DECAY, "nesterov": False}
    return found, {
        "tol_x64": 1e-6,
        "tol_losses_x64": [1e-9] * STEPS,
        "sgd": {**sgd, "steps": STEPS},
    }


MAKERS = {"forward": forward, "grad": gradient, "trajectory": trajectory}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("kind", choices=sorted(MAKERS))
    parser.add_argument("library", choices=("torchvision", "timm"))
    parser.add_argument("model", help="the library's name, which our table knows")
    parser.add_argument("size", type=int)
    parser.add_argument("--constructor", help="instead of the library's function of that name")
    parser.add_argument("--kwargs", type=json.loads, default={}, help="of the library's function")
    parser.add_argument("--overrides", type=json.loads, default={}, help="fields of our network")
    parser.add_argument("--rate", type=float, default=0.01, help="of a trajectory")
    args = parser.parse_args()
    model = network(args, **({"num_classes": 10} if args.kind == "trajectory" else {})).double()
    shapes = fill(model)
    shape = (2 if args.kind == "forward" else 8, 3, args.size, args.size)
    found, entry = MAKERS[args.kind](model, shape, args)
    version = {"timm": timm, "torchvision": torchvision}[args.library].__version__
    entry = {
        "kind": args.kind,
        "library": args.library,
        "version": version.split("+")[0],
        "model": args.model,
        "overrides": args.overrides,
        "input_shape": shape,
        **entry,
    }
    references.add(args.name, entry, shapes, {k: np.asarray(v) for k, v in found.items()})


if __name__ == "__main__":
    main()
