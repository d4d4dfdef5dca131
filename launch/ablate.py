"""Runs an ablation, from a clone of the repository: `python -m jaxcnn.ablate` is the same."""

import runpy

runpy.run_module("jaxcnn.ablate", run_name="__main__", alter_sys=True)
