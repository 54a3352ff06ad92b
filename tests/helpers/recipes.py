"""Recipes written for a test: load a text, list its errors, write a task's file."""

from pathlib import Path
from typing import Any

import pytest

from rpecli.config import load as config_load
from rpecli.config.recipe import Config, Recipe
from rpecli.config.yaml_source import RecipeError

TASK = "from rpecli.task import Task\n\n\nclass Mine(Task):\n    defaults = {defaults}\n"


def load_text(text: str | bytes, folder: Path, **flags: str) -> Recipe:
    """The recipe of a text, written to `r.yaml`."""
    path = folder / "r.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config_load.load(str(path), flags)[0]


def errors(text: str | bytes, folder: Path, **flags: str) -> list[str]:
    """The error messages of a text, one per line, with the file's path cut to its name."""
    with pytest.raises(RecipeError) as caught:
        load_text(text, folder, **flags)
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def task_file(path: Path, defaults: str) -> str:
    """The path of a file with a task of these defaults."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TASK.format(defaults=defaults))
    return str(path)


def config(**keys: Any) -> Config:
    """A config of flat keys."""
    return Config.from_keys(**{"task": "copy", "encoding": "rope", **keys})
