"""Learning rates that decay from the classifier towards the input.

"Discriminative fine-tuning" of Howard and Ruder, "Universal Language Model Fine-tuning for Text
Classification", 2018, arXiv 1801.06146, §3.1: early layers, which are general, change less.
"""

import re
from collections.abc import Sequence


def layer_factors(parameters: Sequence[str], decay: float) -> tuple[tuple[str, float], ...]:
    """Returns factors of the learning rate.

    The last submodule of the network has the factor 1, and each one before it `decay` times that of
    the next. Parameters that are not given, such as those of auxiliary heads, keep the factor 1.

    >>> layer_factors(["stem/kernel", "stage1/conv/kernel", "classifier/bias"], 0.5)
    (('^stem(/|$)', 0.25), ('^stage1(/|$)', 0.5), ('^classifier(/|$)', 1.0))

    Args:
      parameters: names of the parameters to train, in the order of their use.
      decay: factor between neighbours.

    Returns:
      Pairs for `optim.scale_by_factors`.
    """
    submodules = list(dict.fromkeys(name.split("/")[0] for name in parameters))
    last = len(submodules) - 1
    return tuple(
        (f"^{re.escape(name)}(/|$)", decay ** (last - number))
        for number, name in enumerate(submodules)
    )
