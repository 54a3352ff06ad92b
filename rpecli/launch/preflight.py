"""Checks of a recipe that need its tasks and encodings built: options, widths, position ranges, lengths."""

from collections.abc import Iterator

import numpy as np

from rpecli import encoding, task
from rpecli.choice import ChoiceError
from rpecli.config.load import RecipeSource
from rpecli.config.recipe import Config, Recipe
from rpecli.config.yaml_source import Problem
from rpecli.model import max_train_positions


def problems(recipe: Recipe, source: RecipeSource) -> list[Problem]:
    """Every problem of a recipe once, with the place of the key that it is about."""
    unique = {}
    for config in recipe.configs():
        for key, text in _problems_of(config):
            where, name = source.place(key, config.task)
            unique[name, text] = Problem(where, name, text)
    return list(unique.values())


def _problems_of(config: Config) -> Iterator[tuple[str, str]]:
    """Keys of one run, and what is wrong with them."""
    try:
        built = task.build(config.task)
    except ChoiceError as error:
        yield "task", str(error)
        return
    if not built.has_length(config.length):
        nearest = built.nearest_length(config.length)
        yield "length", f"{config.length}: {config.task} has {built.missing(config.length)}: write length: {nearest}"
        return
    sequence = built.sequence(config.length)
    if config.positions == "coupled" and built.coupled(built.sample(np.random.default_rng(0), 1, config.length)) is None:
        yield "positions", f"{config.task} has no coupled positions: write positions: start"
    if config.positions != "start" and config.max_position < sequence:
        yield "max_position", f"{config.max_position} is below the longest training sequence, {sequence} tokens: raise it"
    causal = config.attention == "causal"
    try:
        shape = encoding.Shape(config.d_model, config.n_head, max_train_positions(config, built), causal)
        encodings = encoding.make_all(config.encoding, shape)
    except ChoiceError as error:
        yield "encoding", str(error)
        return
    if config.positions == "coupled" and any(map(encoding.reads_distances, encodings)):
        yield "positions", f"coupled positions do not ascend, and {config.encoding} reads distances: choose another encoding"
