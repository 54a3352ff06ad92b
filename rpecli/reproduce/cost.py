"""What a run of a cell costs on this machine, from a few of its steps.

Processor time, which a quiet machine's wall time is for a run of one thread: whatever else runs now does not count.
"""

import time
from statistics import median

import torch

from rpecli.config.recipe import Config
from rpecli.device import tune_malloc
from rpecli.train import loop
from rpecli.train.state import build_trainer

WARM, TIMED = 2, 6  # steps


def run_seconds(config: Config) -> float:
    """Seconds of one core for all steps of a run; one that stops early takes less."""
    torch.set_num_threads(config.threads)
    tune_malloc()
    trainer = build_trainer(config, torch.device("cpu"))
    times = []
    for number in range(WARM + TIMED):
        start = time.process_time()
        loop.step(trainer)
        times += [time.process_time() - start] if number >= WARM else []
    return median(times) * config.steps
