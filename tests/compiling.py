"""How XLA compiles: quickly in most tests, and as a user's programs.

Most of a test's time is compilation of what runs once. Without LLVM's optimisation and the emitters
of fused operations it takes half of the time.
"""

import jaxlib.version

QUICKLY = {"xla_backend_optimization_level": 0}
AS_USERS = {"xla_backend_optimization_level": 3}
if jaxlib.version.__version__.startswith("0.10."):  # XLA ends a process for an unknown flag
    QUICKLY["xla_cpu_use_fusion_emitters"] = False
    AS_USERS["xla_cpu_use_fusion_emitters"] = True


def flags(options):
    """The text of options in XLA_FLAGS."""
    return " ".join(f"--{name}={str(value).lower()}" for name, value in options.items())
