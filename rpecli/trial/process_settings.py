"""Settings of the whole process that a user's code may change on the way: what else runs there would compute other numbers."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """A setting by the name of what changes it."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]


def settings() -> list[Setting]:
    import numpy as np
    import torch

    return [
        Setting("set_default_dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("set_grad_enabled", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("set_num_threads", torch.get_num_threads, torch.set_num_threads),
        Setting("set_default_device", torch.get_default_device, lambda _: torch.set_default_device(None)),
        Setting("set_float32_matmul_precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        Setting("use_deterministic_algorithms", torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
        Setting("manual_seed", torch.initial_seed, torch.manual_seed),
        Setting("seterr", np.geterr, lambda before: np.seterr(**before)),
        Setting("chdir", os.getcwd, os.chdir),
    ]


def values() -> dict[str, Any]:
    """What all of them are now."""
    return {setting.name: setting.get() for setting in settings()}


def restore(before: dict[str, Any]) -> list[str]:
    """Puts back what has changed since `before`; returns the names."""
    changed = [setting for setting in settings() if setting.get() != before[setting.name]]
    for setting in changed:
        setting.put(before[setting.name])
    return [setting.name for setting in changed]
