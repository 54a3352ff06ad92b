"""Which runs train together as one program."""

import json
from collections import defaultdict
from dataclasses import replace

from rpecli.config.recipe import Config
from rpecli.device import pick_device
from rpecli.launch.job import Job

MAY_DIFFER = {"seed", "data_seed", "lr"}  # keys in which the runs of a stack may differ
MAX_STACK = 16  # runs in a stack, unless --stack gives a number


def stack_key(config: Config) -> str:
    """Equal for configs that differ only in the keys of MAY_DIFFER; each may have its own copy of the same file."""
    return json.dumps({key: value for key, value in config.identity.items() if key not in MAY_DIFFER}, sort_keys=True)


def group_stackable(jobs: list[Job], max_stack: int) -> list[Job]:
    """Joins training jobs that differ only in seed or rate and stand at the same step into stacks of at most `max_stack` runs.

    Runs that several processes train, and those that are evaluated otherwise, are not joined. The stacks come first, then the
    runs that train alone, then the jobs that do not train.
    """
    from rpecli.train.state import checkpoint_step

    groups: dict[tuple[object, ...], list[Job]] = defaultdict(list)
    for job in jobs:
        if job.train:
            groups[stack_key(job.run.config), checkpoint_step(job.run), job.request].append(job)
    stacks, unstacked = [], []
    for (_, step, _), group in groups.items():
        for start in range(0, len(group), max(1, max_stack)):
            part = group[start : start + max_stack]
            if len(part) > 1 and step is not None and part[0].nproc == 1:
                stacks.append(replace(part[0], stacked_with=tuple(job.run for job in part[1:])))
            else:
                unstacked += part
    return [*stacks, *unstacked, *(job for job in jobs if not job.train)]


def max_stack(option: str, device: str) -> int:
    """How many runs at most train together for `--stack auto|on|off|N`; 1 for none. Raises ValueError for another word."""
    if option == "auto":
        cuda = device.startswith("cuda") or (device == "auto" and pick_device(device).type == "cuda")
        return MAX_STACK if cuda else 1
    if option in ("on", "off"):
        return MAX_STACK if option == "on" else 1
    if option.isdecimal() and int(option) > 0:
        return int(option)
    raise ValueError(f"--stack {option}: write auto, on, off, or how many at most: --stack 8")
