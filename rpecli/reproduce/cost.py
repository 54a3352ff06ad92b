"""What a run of a cell costs on this machine, from a few of its steps.

Processor time, which a quiet machine's wall time is for a run of one thread: whatever else runs now does not count.
"""

import time

import torch

from rpecli.bench.in_turn import quick_step
from rpecli.config.recipe import Config

TIMED = 3  # steps behind the first one, so that the cells of all papers are measured in minutes


def run_seconds(config: Config) -> float:
    """Seconds of one core for all steps of a run; one that stops early takes less."""
    return quick_step(config, torch.device("cpu"), time.process_time, warm=1, steps=TIMED)[0] * config.steps
