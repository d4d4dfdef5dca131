"""Runs an ablation: every variant with several seeds, then tables with verdicts and a figure.

  python -m jaxcnn.ablate configs/ablations/degradation.py
  python -m jaxcnn.ablate --all --hours=2 --jobs=2

The file may be anywhere. Finished runs are skipped and interrupted ones continue, so the same
command continues. The result is in --out, by default runs/ablations/<name> of the current
directory: results.md, results.csv, curves.csv, runs.jsonl, figure.svg and figure.png. A second
runner is refused while the first one works in --out.

--all does every file of configs/ablations, those with the least to compute first, and begins no
more runs after --hours. --data trains on another data set, such as cifar10, with images of the same
size.

On a cluster every run may be a job of its own (launch/ablate.sbatch): --list numbers them, and
--task=N does one. The command without --task then does what is left and reports.
"""

import argparse
import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

PARENT = "JAXCNN_ABLATE_PARENT"  # set for the processes that must not outlive this one
if __name__ == "__main__" and PARENT not in os.environ:  # before what takes seconds to load
    from jaxcnn.run import cli

    cli.begin()

from jaxcnn import ablation  # noqa: E402
from jaxcnn.ablation import processes  # noqa: E402
from jaxcnn.errors import UserError, check_whole, nearest  # noqa: E402
from jaxcnn.run import cli, preemption  # noqa: E402

if TYPE_CHECKING:
    from jaxcnn.ablation.progress import Progress


class Job(NamedTuple):
    """An ablation to run.

    Attributes:
      file: what describes it.
      plan: what to compare.
      text: what its file says of it.
      every: all its runs.
      out: where they live.
    """

    file: Path
    plan: ablation.Ablation
    text: str
    every: list
    out: Path

    @property
    def left(self) -> list:
        """The runs that are not done."""
        from jaxcnn.ablation import runs

        return [task for task in self.every if not runs.finished(self.plan, task, self.out)]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Returns the command line."""
    parser = cli.Parser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("file", type=Path, nargs="?", help="one of configs/ablations, or your own")
    what.add_argument("--all", action="store_true", help="all files of configs/ablations")
    parser.add_argument("--data", help="another data set: digits, mnist, cifar10 …")
    parser.add_argument("--seeds", type=int, help="runs of each variant (as the file has it)")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first of them (0)")
    parser.add_argument("--hours", type=float, help="begin no more runs after this time")
    parser.add_argument("--jobs", type=int, default=1, help="variants that run at once (1)")
    parser.add_argument("--out", type=Path, help="where the runs and the result are")
    parser.add_argument("--keep", action="store_true", help="keep the trained weights")
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

    check_whole("--jobs", args.jobs, 1, 1000)
    if args.seeds is not None:
        check_whole("--seeds", args.seeds, 1, 500)
    check_whole("--first-seed", args.first_seed, 0, 500)  # below that of tuning
    if args.hours is not None and not 0 <= args.hours < 1e6:
        raise UserError(f"--hours={args.hours} is not a number of hours")
    jobs = [make_job(file, args) for file in (files() if args.all else [args.file])]
    numbered = [(job, task) for job in jobs for task in job.every]
    if args.list:
        for number, (job, task) in enumerate(numbered):
            done = runs.finished(job.plan, task, job.out)
            name = f"{job.file.stem}: " * args.all
            print(f"{number} {name}{task}{': done' if done else ''}")
        return
    if args.task is not None:
        if not 0 <= args.task < len(numbered):
            raise UserError(f"--task={args.task}: the runs are 0 to {len(numbered) - 1}")
        job, task = numbered[args.task]
        run_here(job, [task], args)
    elif args.variant is not None:
        if args.all:
            raise UserError("--variant is of one file: name it in place of --all")
        (job,) = jobs
        if args.variant not in job.plan.variants:
            near = nearest(args.variant, job.plan.variants)
            raise UserError(f"no variant {args.variant!r}: {near}")
        together = job.plan.same_training(args.variant)
        todo = [task for task in job.every if task.variant in together]
        run_here(job, todo, args)
    else:
        run_jobs(jobs, args)


def files() -> list[Path]:
    """Returns the files of configs/ablations, of the current directory.

    Raises:
      UserError: if there are none.
    """
    found = sorted(Path("configs/ablations").glob("*.py"))
    if not found:
        raise UserError(
            "there is no configs/ablations here: run --all in a clone of the repository"
        )
    return found


def make_job(file: Path, args: argparse.Namespace) -> Job:
    """Returns the ablation of a file, as the command line changes it.

    Raises:
      UserError: see `ablation.load`.
    """
    from jaxcnn.ablation.task import all_tasks

    plan, text = ablation.load(file)
    plan = plan.on(args.data) if args.data else plan
    name = f"{file.stem}-{args.data}" if args.data else file.stem
    name += f"-seed{args.first_seed}" if args.first_seed else ""
    out = args.out or Path("runs/ablations")
    if args.all or not args.out:
        out = out / name
    every = all_tasks(plan, args.seeds or plan.seeds, args.first_seed)
    return Job(file, plan, text, every, out)


def run_here(job: Job, todo: list, args: argparse.Namespace) -> None:
    """Does runs in this process."""
    from jaxcnn.ablation import runs

    runs.check_writable(job.out)
    if PARENT in os.environ:
        run_for_parent(job, todo, args)
        return
    cli.set_up()
    compared(job.plan)
    options = {"keep": args.keep, "deadline": deadline_of(args)}
    runs.run(job.plan, todo, job.out, say=lambda line: print(line, flush=True), **options)


def deadline_of(args: argparse.Namespace) -> float:
    """Returns the time of `time.monotonic` after which no run begins."""
    return math.inf if args.hours is None else time.monotonic() + 3600 * args.hours


def compared(plan: ablation.Ablation) -> dict:
    """Returns the sizes of the networks, after a check of what the ablation says of them."""
    from jaxcnn.ablation import sizes

    found = sizes.measure(plan)
    sizes.check(plan, found)
    return found


def run_jobs(jobs: list[Job], args: argparse.Namespace) -> None:
    """Does all runs that are not done, until the time is over, and reports.

    Raises:
      UserError: if an ablation failed, after those of the others; or if a signal came.
    """
    from jaxcnn.ablation import runs

    deadline = deadline_of(args)
    failed: list[UserError] = []
    for job in cheapest_first(jobs) if args.all else jobs:
        if time.monotonic() > deadline:
            break
        if args.all:
            print(f"\n== {job.file.stem}", flush=True)
        runs.check_writable(job.out)
        try:
            with runs.held(job.out):
                run_all(job, args, deadline)
        except UserError as error:
            if not args.all or error.exit_code >= 128:  # a signal ends all
                raise
            print(f"{job.file.stem}: {error}", file=sys.stderr)
            failed.append(error)
    names = []
    for job in jobs:
        with contextlib.suppress(UserError):  # a damaged result, which was said
            if left := len(job.left):
                names.append(f"{job.file.stem} ({left})")
    if names:
        print(f"\nruns left: {', '.join(names)}: the same command continues")
    if failed:
        raise UserError(f"{len(failed)} ablations failed: see above", failed[0].exit_code)


def cheapest_first(jobs: list[Job]) -> list[Job]:
    """Returns the ablations that have runs left or no result, by the multiply-adds of those."""
    from jaxcnn.config import build

    cost: dict[Path, float] = {}
    for job in jobs:
        try:
            left = job.left
            if not left and (job.out / "results.md").exists():
                continue
            print(f"measuring {job.file.stem}", flush=True)
            sizes = compared(job.plan)
        except UserError:
            cost[job.file] = 0  # which it says again in its turn
        else:
            config = job.plan.config(next(iter(job.plan.variants)), 0)
            plan = build.make_plan(config, config.data.num_examples)
            images = plan.total * config.train.batch_size if job.plan.trains else 1
            cost[job.file] = images * sum(sizes[task.variant].macs for task in left)
    return sorted((job for job in jobs if job.file in cost), key=lambda job: cost[job.file])


def run_all(job: Job, args: argparse.Namespace, deadline: float) -> None:
    """Does the runs that are not done, each variant in a process of its own, and reports.

    Raises:
      UserError: if variants failed, after the report of the others; or if a signal came.
    """
    import jax

    from jaxcnn.ablation import evidence, figure, report, runs
    from jaxcnn.ablation.progress import Progress

    jax.config.update("jax_platforms", "cpu")  # of this process: a device's memory is for the runs
    found = compared(job.plan)
    progress = Progress(job.plan, job.every, job.out)
    done = len(job.every) - len(progress.left)
    print(f"{len(job.every)} runs, {done} of them done already  ({job.out})", flush=True)
    unfinished = (job.plan.same_training(task.variant)[0] for task in progress.left)
    waiting = list(dict.fromkeys(unfinished))
    with preemption.stop_request(print) as stop, stop.deferred():  # the runs save first
        failed = run_variants(waiting, job, args, progress, deadline)
    counted = [task for task in job.every if task.tuning is None]
    results = [runs.finished(job.plan, task, job.out) for task in counted]
    kept = [result for result in results if result is not None]
    if not kept:
        if failed:
            raise UserError(f"no run of {job.file} finished: see the messages above")
        return
    whole = evidence.Evidence(kept, found)
    command = f"python -m jaxcnn.ablate {job.file}"
    command += f" --data={args.data}" if args.data else ""
    command += f" --seeds={args.seeds}" if args.seeds else ""
    command += f" --first-seed={args.first_seed}" if args.first_seed else ""
    print(f"\n{report.write(job.plan, job.text, whole, job.out, command)}", flush=True)
    figures = [job.out / f"figure{kind}" for kind in (".png", ".svg")]
    figure.draw(job.plan, job.text, whole, figures)
    print(f"{job.out / 'results.md'}\n{figures[0]}", flush=True)
    if failed and len(kept) < len(counted):  # other processes may have done the rest
        raise UserError(
            f"the table lacks {len(counted) - len(kept)} of {len(counted)} runs, of the variants"
            f" {', '.join(failed)}: see above, then run the same command again",
            max(failed.values()),
        )


def run_variants(
    variants: list[str],
    job: Job,
    args: argparse.Namespace,
    progress: "Progress",
    deadline: float = math.inf,
) -> dict[str, int]:
    """Runs each variant in a process of its own, some at once; returns exit codes of failures.

    None is begun after the deadline, a time of `time.monotonic`.

    Raises:
      UserError: when the runs were stopped by a signal; they have saved.
    """
    left, failed = list(variants), {}
    running: dict[str, subprocess.Popen] = {}
    places: dict[str, int] = {}  # number of the share of cores that a variant has
    command = [sys.executable, "-m", "jaxcnn.ablate", str(job.file), f"--out={job.out}"]
    command += [f"--seeds={args.seeds}"] * (args.seeds is not None)
    command += [f"--first-seed={args.first_seed}", *[f"--data={args.data}"] * bool(args.data)]
    if deadline < math.inf:
        command.append(f"--hours={max(deadline - time.monotonic(), 0) / 3600:.4f}")
    command += ["--keep"] * args.keep + ["--debug"] * args.debug
    told = False
    at_once = 1 if job.plan.alone else args.jobs
    shares = processes.share_cores(at_once)
    with preemption.stop_request(lambda line: None) as stop, stop.deferred():
        while running or (left and not stop):
            if time.monotonic() > deadline:
                left.clear()
            while left and len(running) < at_once and not stop:
                variant = left.pop(0)
                with processes.blocked():
                    running[variant] = processes.start([*command, f"--variant={variant}"], PARENT)
                places[variant] = min(set(range(at_once)) - set(places.values()))
                if shares:
                    os.sched_setaffinity(running[variant].pid, shares[places[variant]])
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
                    del running[variant], places[variant]
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


def run_for_parent(job: Job, todo: list, args: argparse.Namespace) -> None:
    """Does runs in silence: the process that started this one reads what they leave and tells.

    Raises:
      UserError: see `runs.run`, but for a signal, which ends this process.
    """
    from jaxcnn.ablation import runs
    from jaxcnn.training import train

    cli.set_up()
    try:
        options = {"keep": args.keep, "deadline": deadline_of(args)}
        runs.run(job.plan, todo, job.out, say=lambda line: None, **options)
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
