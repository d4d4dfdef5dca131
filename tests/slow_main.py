"""`python -m jaxcnn.main`, whose evaluations and recalibrations take SLOW seconds a batch."""

import os
import time

from jaxcnn.run import cli

cli.begin()

from jaxcnn.config.flags import run  # noqa: E402
from jaxcnn.evaluation import evaluator  # noqa: E402
from jaxcnn.main import define_flags, main  # noqa: E402

SLOW = float(os.environ["SLOW"])


def _slowly(call):
    def called(*given):
        time.sleep(SLOW)
        return call(*given)

    return called


def _slow_batches(make):
    def made(*given, **named):
        for batch in make(*given, **named):
            time.sleep(SLOW)
            yield batch

    return made


evaluator._fetched = _slowly(evaluator._fetched)
evaluator.train_batches = _slow_batches(evaluator.train_batches)
run(main, define_flags)
