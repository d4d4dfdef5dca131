"""Measures our networks, operations and input beside those of other libraries, in the same run.

  python -m jaxcnn.benchmark --model=resnet50,densenet121 --against=torch
  python -m jaxcnn.benchmark --mode=op --model=all --against=torch
  python -m jaxcnn.benchmark --mode=op --random=200 --against=torch
  python -m jaxcnn.benchmark --mode=input --batch=64 --against=torch
  python -m jaxcnn.benchmark --mode=fit --model=resnet50 --memory=16GB
  python -m jaxcnn.benchmark --mode=memory --model=resnet50,densenet121 --against=torch
  python -m jaxcnn.benchmark --mode=scale --model=cifar_resnet20 --batch=32 --processes=1,2,4

Prints a Markdown table; --json writes all that was measured. A network is timed only if 5 steps
from the same weights, in float64, have the same losses as the other library's. `fit` answers which
batch fits a memory, from compiled training steps that are not run. `memory` runs training steps on
the CPU, each library in a process of its own, and tells their resident memory. `scale` trains in
several processes of this machine, on the CPU, with --batch images each, and compares their speed
with that of one.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxcnn.errors import UserError, check_whole, nearest
from jaxcnn.io.atomic import whole_file
from jaxcnn.run import cli

MODES = ("train", "infer", "op", "input", "fit", "memory", "scale")
AGAINST = ("none", "xla", "torch", "torchvision", "timm")


def _parser() -> cli.Parser:
    parser = cli.Parser(
        prog="python -m jaxcnn.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", help="names with commas; of operations, or all")
    parser.add_argument("--mode", default="train", choices=MODES)
    parser.add_argument("--against", default="none", help=f"some of {', '.join(AGAINST)}")
    parser.add_argument("--batch", type=int, default=16, help="images per step (16)")
    parser.add_argument(
        "--size", type=int, default=0, help="of images; 0 is the network's own, of the input 224"
    )
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (7)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a turn (1)")
    parser.add_argument("--threads", type=int, default=0, help="cores to use; 0 is all")
    parser.add_argument(
        "--forms", default="eager,compile", help="of torch networks, to take the fastest of"
    )
    parser.add_argument(
        "--random", type=int, default=0, help="op only: so many drawn operations, each with a batch"
    )
    parser.add_argument("--memory", help="fit only: such as 16GB (this machine's)")
    parser.add_argument(
        "--remat", action="store_true", help="train, fit, memory: set the network's field remat"
    )
    parser.add_argument("--processes", help="scale only: how many, such as 1,2,4")
    parser.add_argument("--json", type=Path, help="a file for all that was measured")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses the command line.

    Raises:
      UserError: if a flag does not exist, or a value is not valid.
    """
    flags = _parser().parse_args(argv)
    if flags.mode != "fit" and flags.memory:
        raise UserError("--memory goes with --mode=fit")
    if flags.mode not in ("train", "fit", "memory") and flags.remat:
        raise UserError("--remat goes with --mode=train, fit or memory")
    if flags.random and flags.mode != "op":
        raise UserError("--random goes with --mode=op")
    if flags.random and not flags.model:
        flags.model = "all"
    if flags.mode != "scale" and flags.processes:
        raise UserError("--processes goes with --mode=scale")
    if flags.mode in ("fit", "scale") and flags.against != "none":
        raise UserError(f"--mode={flags.mode} compares with no other library: --against=none")
    if flags.mode == "input" and flags.model:
        raise UserError(f"--mode=input takes no --model={flags.model}")
    if flags.mode != "input" and not flags.model:
        raise UserError(f"--mode={flags.mode} needs --model=NAME, or several with commas")
    for name, known in (("against", AGAINST), ("forms", ("eager", "compile"))):
        values = getattr(flags, name).split(",")
        for value in values:
            if value not in known:
                raise UserError(f"--{name}={value}: {nearest(value, known)}")
        setattr(flags, name, [] if values == ["none"] else values)
    if flags.mode == "memory" and "xla" in flags.against:
        raise UserError("--mode=memory compares with torch: --against=torch or none")
    if flags.mode == "input" and not {"torch", "torchvision"}.issuperset(flags.against):
        raise UserError("--mode=input is measured --against=torch or none")
    if flags.mode == "input" and flags.dtype != "float32":
        raise UserError(f"--mode=input takes no --dtype={flags.dtype}: images stay uint8")
    for name, least, most in (
        ("batch", 1, 65_536),
        ("rounds", 1, 100_000),
        ("size", 0, 4096),
        ("random", 0, 10_000),
        ("threads", 0, 4096),
    ):
        check_whole(f"--{name}", getattr(flags, name), least, most)
    if not 0 <= flags.seconds <= 3600:  # also refuses NaN
        raise UserError(f"--seconds={flags.seconds:g} is not a number from 0 to 3600")
    return flags


def set_up(flags: argparse.Namespace) -> int:
    """Makes the comparison fair before a library is loaded; returns the threads of each.

    Raises:
      UserError: if a library is already loaded.
    """
    may_choose = hasattr(os, "sched_getaffinity")  # Linux
    cores = sorted(os.sched_getaffinity(0)) if may_choose else range(os.cpu_count() or 1)
    if flags.threads > len(cores):
        raise UserError(f"--threads={flags.threads}: there are {len(cores)} cores")
    if flags.threads:
        if not may_choose:
            raise UserError("--threads needs Linux: leave it out")
        os.sched_setaffinity(0, cores[: flags.threads])
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch needs memory too
    if flags.mode == "memory":  # both on the CPU, the processes that this one starts, too
        os.environ.update(JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")
    return flags.threads or len(cores)


def _fit(flags: argparse.Namespace, threads: int) -> None:
    """Prints which batch of each network fits."""
    from jaxcnn.benchmark import fit, measure

    memory, found = fit.parse_memory(flags.memory or ""), []
    for name in measure.names(flags):
        fields = measure.fields(flags)
        found.append(fit.measure(name, memory, flags.size, flags.dtype, fields))
        print(fit.sentence(found[-1], flags.dtype) + "\n", flush=True)
    _write(flags, {"measured": list(map(fit.as_record, found))})


def _memory(flags: argparse.Namespace, threads: int) -> None:
    """Prints the memory of training steps."""
    from jaxcnn.benchmark import machine, measure, memory

    def one(name: str) -> memory.Peak:
        step = memory.Step(name, flags.batch, flags.size, flags.dtype, measure.fields(flags))
        return memory.measure(step, threads, measure.libraries(flags))

    names, about = measure.names(flags), machine.describe(threads)
    found: list[memory.Peak] = []
    failed: list[UserError] = []
    print(", ".join(f"{key} {value}" for key, value in about.items()) + f"\n\n{memory.HEADER}")
    for peak in _each(names, one, failed):
        found.append(peak)
        print(memory.row(peak), flush=True)
        _write(flags, {"machine": about, "measured": [peak._asdict() for peak in found]})
    if failed:
        raise failed[0]


def _scale(flags: argparse.Namespace, threads: int) -> None:
    """Prints the speed of several processes."""
    from jaxcnn.benchmark import machine, scale

    counts = scale.parse_processes(flags.processes or "1,2")
    content: dict[str, Any] = {"machine": machine.describe(threads), "batch": flags.batch}
    for name in flags.model.split(","):
        found = scale.measure(name, counts, flags.batch, flags.size, flags.dtype)
        print(
            f"{name}, {flags.batch} images for each process\n\n{scale.table(found)}\n", flush=True
        )
        content[name] = scale.as_record(found)
    _write(flags, content)


def _each(
    names: Sequence[str], measure: Callable[[str], Any], failed: list[UserError]
) -> Iterator[Any]:
    """Yields what is measured of each name, and says which is at work; errors are kept."""
    for number, name in enumerate(names, 1):
        print(f"{number}/{len(names)} {name}", file=sys.stderr, flush=True)
        try:
            found = measure(name)
        except UserError as error:  # measures the others anyway
            print(f"{error}", file=sys.stderr, flush=True)
            failed.append(error)
        else:
            yield found


def _warn_of_remat() -> None:
    """Says on a CPU what keeps `remat` from being undone."""
    from jaxcnn.run import compiler_options

    if not compiler_options.recomputes():
        print(f"remat {compiler_options.NO_RECOMPUTATION}", file=sys.stderr, flush=True)


def _write(flags: argparse.Namespace, content: Mapping[str, Any]) -> None:
    """Writes what was measured, if --json says where."""
    if flags.json:
        with whole_file(flags.json) as file:
            file.write(json.dumps({"mode": flags.mode, **content}, indent=1).encode())


def main(argv: Sequence[str]) -> None:
    """Measures and reports.

    Raises:
      UserError: for errors that the user can fix.
    """
    flags = parse(argv)
    threads = set_up(flags)
    if flags.remat:
        _warn_of_remat()
    others = {"fit": _fit, "memory": _memory, "scale": _scale}
    if flags.mode in others:
        others[flags.mode](flags, threads)
        return
    from jaxcnn.benchmark import machine, measure, peers, report

    if flags.random:
        print(f"tracing networks for {flags.random} operations …", file=sys.stderr, flush=True)
    names = measure.names(flags)
    if measure.libraries(flags):
        peers.check_torch(threads)
    roofline = machine.measure_roofline(flags.dtype)
    about = machine.describe(threads)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    batch = "a batch for each" if flags.random else f"batch {flags.batch}"
    print(
        f"copy {roofline.bandwidth / 1e9:.0f} GB/s, matrix product {roofline.flops / 1e12:.2f}"
        f" TFLOP/s; {flags.mode}, {batch}, {flags.dtype}\n",
        flush=True,
    )
    found: list[report.Measured] = []
    failed: list[UserError] = []
    for one in _each(names, lambda name: measure.measure(name, flags, threads), failed):
        found.append(one)
        rows = [report.record(row, roofline) for row in found]
        _write(flags, {"machine": about, "roofline": roofline._asdict(), "measured": rows})
    if found:
        print(report.table(found, roofline))
    if failed:
        raise failed[0]


if __name__ == "__main__":
    # torch's waiting threads would spin and, on a small machine, take the cores from its own work:
    # up to ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        main(sys.argv[1:])
