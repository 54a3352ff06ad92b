"""Which runs train together as one program."""

from collections.abc import Sequence
from dataclasses import replace

from rpecli.config.recipe import Config
from rpecli.device import pick_device
from rpecli.launch.job import Job
from rpecli.run import directory as run
from rpecli.train.state import _steps_done

FREE = {"seed", "data_seed", "lr"}  # keys in which the runs of a stack may differ


MOST = 16  # runs in a stack, unless told otherwise


def _kin(configs: Sequence[Config]) -> list[list[int]]:
    """Runs that differ in FREE keys alone."""
    groups: dict[str, list[int]] = {}
    for k, config in enumerate(configs):
        groups.setdefault(config.model_dump_json(exclude=FREE | {"eval"}), []).append(k)
    return list(groups.values())


def together(jobs: list[Job], most: int) -> list[Job]:
    """Jobs of a kind that stand at the same step as one, at most so many in each; the others as they are."""
    todo = [job for job in jobs if job.train]
    configs, done = [run.config_of(job.path) for job in todo], [job for job in jobs if not job.train]
    stacks, alone = [], []
    for group in _kin(configs):
        by_step: dict[int | None, list[Job]] = {}
        for k in group:
            by_step.setdefault(_steps_done(todo[k].path), []).append(todo[k])
        for step, same in by_step.items():
            for start in range(0, len(same), max(1, most)):
                some = same[start : start + most]
                whole = len(some) > 1 and step is not None
                stacks += [replace(some[0], others=tuple(job.path for job in some[1:]))] if whole else []
                alone += [] if whole else some
    return [*stacks, *alone, *done]


def most(how: str, device: str) -> int:
    """How many runs `--stack` asks to train together: 1 for none. Raises ValueError for another word."""
    if how == "auto":  # a device that is not there is for the runs to say
        cuda = device.startswith("cuda") or (device == "auto" and pick_device(device).type == "cuda")
        return MOST if cuda else 1
    if how in ("on", "off"):
        return MOST if how == "on" else 1
    if how.isdecimal() and int(how) > 0:
        return int(how)
    raise ValueError(f"--stack {how}: write auto, on, off, or how many at most: --stack 8")
