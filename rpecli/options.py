"""Options of encodings and tasks: which spellings mean the same, and the memory that they ask for."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rpecli import catalog
from rpecli.choice import is_path, parse_choice, split_layers, split_switch
from rpecli.device import available_memory, memory_problem

if TYPE_CHECKING:
    from torch import nn

LARGE = 4096  # a whole number below it sizes nothing that does not fit
BYTES = 4 * 4  # of each parameter in training: weight, gradient, and the two averages of AdamW, in float32


def meaning(kind: str, base: type, choice: str) -> str:
    """The same text for all spellings of a choice that ships: names, and every option with the value that it stands for.

    Raises ChoiceError.
    """
    return repr([[_meaning(kind, base, part) for part in split_layers(phase)] for phase in split_switch(choice) if phase])


def _meaning(kind: str, base: type, part: str) -> tuple[str, dict[str, Any]]:
    name, options = parse_choice(part)
    if is_path(name):  # the user's own file is not run here: it is tried in a process of its own, after this
        return name, options
    cls = catalog.load_class(kind, name, base)
    parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    defaults = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    return name, defaults | catalog.convert(cls, options, f"{kind[:-1]} {name}")


def too_large(construct: "Callable[[], nn.Module]", values: dict[str, Any]) -> str | None:
    """Why a module with these options does not fit in memory, told before a tensor of it is made; None where it does."""
    import torch

    large = [name for name, value in values.items() if isinstance(value, int) and value >= LARGE]
    if not large:
        return None
    try:
        with torch.device("meta"):  # shapes alone
            module = construct()
    except Exception:  # its constructor reads values, or says what is wrong: it is made of real tensors next
        return None
    return parameters_problem(sum(tensor.numel() for tensor in module.parameters()), f"lower {' or '.join(large)}")


def parameters_problem(number: int, remedy: str) -> str | None:
    """`needs at least 119 GiB of memory, 8 GiB are free: lower rows`, to train so many parameters; None if it fits."""
    problem = memory_problem(BYTES * number, available_memory())
    return problem and f"{problem}: {remedy}"
