"""Runs an ablation: every variant with several seeds, then a table and a figure.

  python launch/ablate.py configs/ablations/degradation.py --quick

Runs that are done are skipped and interrupted ones go on, so the same command continues. The result
is in --out, runs/ablations/<name> or <name>-quick by default: results.csv, curves.csv, results.md,
figure.svg and figure.png.

On a cluster every run may be a job of its own (launch/ablate.sbatch): --list numbers them, and
--task=N does one. The command without --task then does what is left and reports.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from jaxcnn import ablation, process
from jaxcnn.errors import UserError, nearest


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Returns the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="one of configs/ablations")
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
    """Does what the command line says.

    Raises:
      UserError: for whatever the user can put right.
    """
    from jaxcnn.ablation import report, runs  # jax reads the environment when it is loaded

    plan, text = ablation.load(args.file)
    for flag, least in (("seeds", 1), ("jobs", 1)):
        if getattr(args, flag) < least:
            raise UserError(f"--{flag}={getattr(args, flag)} is too small: {least} or more")
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
    if todo is not every:
        process.set_up()
        runs.run(plan, todo, out, quick=args.quick, say=lambda line: print(line, flush=True))
        return

    waiting = {
        task.variant for task in every if runs.finished(plan, task, out, quick=args.quick) is None
    }
    done = sum(task.variant not in waiting for task in every)
    print(f"{len(every)} runs, {done} of them in variants that are done already  ({out})")
    failed = run_variants([name for name in plan.variants if name in waiting], args, out)
    results = [runs.finished(plan, task, out, quick=args.quick) for task in every]
    found = [result for result in results if result is not None]
    if not found:
        raise UserError(f"no run of {args.file} came to an end: see above")
    print(f"\n{report.write(plan, text, found, out)}\n{out / 'results.md'}", flush=True)
    report.draw(plan, found, out)
    print(out / "figure.png")
    if failed:
        raise UserError(f"{len(failed)} variants failed, the table has the others: {failed}")


def run_variants(variants: list[str], args: argparse.Namespace, out: Path) -> list[str]:
    """Runs each variant in a process of its own, some at once; returns those that failed.

    Raises:
      UserError: when the runs were stopped by a signal; they have saved.
    """
    left, running, failed = list(variants), {}, []
    command = [sys.executable, str(Path(__file__)), str(args.file), f"--seeds={args.seeds}"]
    command += [f"--out={out}", *["--quick"] * args.quick, *["--debug"] * args.debug]
    signal.signal(signal.SIGTERM, stop)
    try:
        while left or running:
            while left and len(running) < args.jobs:
                variant = left.pop(0)
                running[variant] = subprocess.Popen(  # noqa: S603
                    [*command, f"--variant={variant}"],
                    stdin=subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C reaches them once, from here
                    env={**os.environ, PARENT: "1"},
                )
            time.sleep(0.2)
            for variant, child in list(running.items()):
                if child.poll() is not None:
                    del running[variant]
                    if child.returncode:
                        failed.append(variant)
    except (KeyboardInterrupt, StoppedError):
        for child in running.values():
            child.terminate()
        for child in running.values():
            child.wait()
        raise UserError("stopped; the runs have saved: the same command continues", 143) from None
    return failed


PARENT = "JAXCNN_ABLATE_PARENT"  # set for the processes that must not outlive this one


class StoppedError(Exception):
    """SIGTERM."""


def stop(number: int, frame: object) -> None:
    """Turns SIGTERM into an exception, so that the runs are told."""
    raise StoppedError


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone: its end of the pipe closes."""

    def wait() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    if PARENT in os.environ:
        end_with_parent()
    arguments = parse()
    with process.mistakes_in_one_line(debug=arguments.debug):
        main(arguments)
