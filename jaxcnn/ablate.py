"""Runs an ablation: every variant with several seeds, then a table and a figure.

  python -m jaxcnn.ablate configs/ablations/degradation.py --quick

The file may be anywhere. Finished runs are skipped and interrupted ones continue, so the same
command continues. The result is in --out, by default runs/ablations/<name> or <name>-quick of the
current directory: results.csv, curves.csv, results.md, figure.svg and figure.png. A second runner
is refused while the first one works in --out.

On a cluster every run may be a job of its own (launch/ablate.sbatch): --list numbers them, and
--task=N does one. The command without --task then does what is left and reports.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

PARENT = "JAXCNN_ABLATE_PARENT"  # set for the processes that must not outlive this one
if __name__ == "__main__" and PARENT not in os.environ:  # before what takes seconds to load
    from jaxcnn.run import cli

    cli.begin()

from jaxcnn import ablation  # noqa: E402
from jaxcnn.errors import UserError, check_whole, nearest  # noqa: E402
from jaxcnn.run import cli, preemption  # noqa: E402

if TYPE_CHECKING:
    from jaxcnn.ablation.progress import Progress


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Returns the command line."""
    parser = cli.Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, help="one of configs/ablations, or your own")
    parser.add_argument("--quick", action="store_true", help="the short form, for a laptop")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variant (3)")
    parser.add_argument("--jobs", type=int, default=1, help="variants that run at once (1)")
    parser.add_argument("--out", type=Path, help="where the runs and the result are")
    parser.add_argument("--list", action="store_true", help="print the runs and their numbers")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--task", type=int, help="do the run of this number alone, no report")
    part.add_argument("--variant", help="do the runs of this variant alone, no report")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Runs the command.

    Raises:
      UserError: for whatever the user can put right.
    """
    from jaxcnn.ablation import runs  # jax reads the environment when it is loaded

    plan, text = ablation.load(args.file)
    check_whole("--seeds", args.seeds, 1, 1000)
    check_whole("--jobs", args.jobs, 1, 1000)
    every = runs.tasks(plan, args.seeds)
    out = args.out or Path("runs/ablations") / (args.file.stem + "-quick" * args.quick)
    todo = every
    if args.task is not None:
        if not 0 <= args.task < len(every):
            raise UserError(f"--task={args.task}: the runs are 0 to {len(every) - 1}")
        todo = [every[args.task]]
    if args.variant is not None:
        todo = [task for task in every if task.variant == args.variant]
        if not todo:
            raise UserError(f"no variant {args.variant!r}: {nearest(args.variant, plan.variants)}")
    if args.list:
        for number, task in enumerate(every):
            done = runs.finished(plan, task, out, quick=args.quick)
            print(f"{number} {task.variant}, seed {task.seed}{': done' if done else ''}")
        return
    runs.check_writable(out)
    if todo is every:
        with runs.held(out):
            run_all(plan, text, every, args, out)
    elif PARENT in os.environ:
        run_for_parent(plan, todo, out, quick=args.quick)
    else:
        cli.set_up()
        compared(plan, quick=args.quick)
        runs.run(plan, todo, out, quick=args.quick, say=lambda line: print(line, flush=True))


def compared(plan: ablation.Ablation, *, quick: bool) -> dict:
    """Returns the sizes of the networks, after a check of what the ablation says of them."""
    from jaxcnn.ablation import sizes

    found = sizes.measure(plan, quick=quick)
    sizes.check(plan, found)
    return found


def run_all(
    plan: ablation.Ablation, text: str, every: list, args: argparse.Namespace, out: Path
) -> None:
    """Does the runs that are not done, each variant in a process of its own, and reports.

    Raises:
      UserError: if variants failed, after the report of the others; or if a signal came.
    """
    import jax

    from jaxcnn.ablation import report, runs
    from jaxcnn.ablation.progress import Progress

    jax.config.update("jax_platforms", "cpu")  # of this process: a device's memory is for the runs
    found = compared(plan, quick=args.quick)
    progress = Progress(plan, every, out, quick=args.quick)
    done = len(every) - len(progress.left)
    print(f"{len(every)} runs, {done} of them done already  ({out})", flush=True)
    waiting = list(dict.fromkeys(task.variant for task in progress.left))
    with preemption.stop_request(print) as stop, stop.deferred():  # the runs save first
        failed = run_variants(waiting, args, out, progress)
    results = [runs.finished(plan, task, out, quick=args.quick) for task in every]
    kept = [result for result in results if result is not None]
    if not kept:
        raise UserError(f"no run of {args.file} finished: see the messages above")
    print(f"\n{report.write(plan, text, kept, found, out)}\n{out / 'results.md'}", flush=True)
    report.draw(plan, text, kept, out)
    print(out / "figure.png")
    if failed and len(kept) < len(every):  # other processes may have done the rest
        raise UserError(
            f"the table lacks {len(every) - len(kept)} of {len(every)} runs, of the variants"
            f" {', '.join(failed)}: see above, then run the same command again",
            max(failed.values()),
        )


def run_variants(
    variants: list[str], args: argparse.Namespace, out: Path, progress: "Progress"
) -> dict[str, int]:
    """Runs each variant in a process of its own, some at once; returns exit codes of failures.

    Raises:
      UserError: when the runs were stopped by a signal; they have saved.
    """
    left, failed = list(variants), {}
    running: dict[str, subprocess.Popen] = {}
    command = [sys.executable, "-m", "jaxcnn.ablate", str(args.file), f"--seeds={args.seeds}"]
    command += [f"--out={out}", *["--quick"] * args.quick, *["--debug"] * args.debug]
    told = False
    with preemption.stop_request(lambda line: None) as stop, stop.deferred():
        while running or (left and not stop):
            while left and len(running) < args.jobs and not stop:
                variant = left.pop(0)
                with blocked():
                    running[variant] = start([*command, f"--variant={variant}"])
            time.sleep(0.2)
            progress.update(running)
            if stop.signal is not None and not told:
                print(
                    f"\n{stop.name}: the runs end and save (once more: leave at once)", flush=True
                )
                for child in running.values():
                    child.send_signal(stop.signal)
                told = True
            for variant, child in list(running.items()):
                if child.poll() is not None:
                    del running[variant]
                    if child.returncode:
                        code = child.returncode
                        failed[variant] = code if code > 0 else 128 - code
        progress.update(running)
        if stop:
            raise UserError(
                f"stopped by {stop.name}; {progress.done} runs are done, those in work have saved:"
                " the same command continues",
                stop.exit_code,
            )
    return failed


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Lets signals wait, in this process until the end and in those started until they say so."""
    kept = signal.pthread_sigmask(signal.SIG_BLOCK, preemption.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, kept)


def start(command: list[str]) -> subprocess.Popen:
    """Starts a process that ends with this one; signals come to it from here alone."""
    return subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, PARENT: "1"},
    )


def run_for_parent(plan: ablation.Ablation, todo: list, out: Path, *, quick: bool) -> None:
    """Does runs in silence: the process that started this one reads what they leave and tells.

    Raises:
      UserError: see `runs.run`, but for a signal, which ends this process.
    """
    from jaxcnn.ablation import runs
    from jaxcnn.training import train

    cli.set_up()
    try:
        runs.run(plan, todo, out, quick=quick, say=lambda line: None)
    except train.InterruptedRunError as stopped:
        sys.exit(stopped.exit_code)


def obey_parent() -> None:
    """Ends this process when the one that started it is gone: its end of the pipe closes.

    And signals end it at once, in silence, unless a run that they must save has begun.
    """

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    for number in preemption.SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, preemption.SIGNALS)
    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    if PARENT in os.environ:
        cli.restart_with_settings()
        obey_parent()
    with cli.mistakes_in_one_line(debug="--debug" in sys.argv):
        main(parse())
