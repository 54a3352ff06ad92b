"""What only the code itself can tell about a recipe: every option, width, position range and length, before anything trains."""

from collections.abc import Iterator

import numpy as np

from rpecli import encoding, task
from rpecli.choice import ChoiceError
from rpecli.config.load import RecipeSource
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, Recipe
from rpecli.config.yaml_source import Problem
from rpecli.model import max_train_positions


def problems(made: Recipe, source: RecipeSource) -> list[Problem]:
    """Every problem once, with the place of the key that it is about."""
    found = {}
    for config in made.configs():
        for key, text in _of_run(config):
            where, name = source.place(key, config.task)
            found[name, text] = Problem(where, name, text)
    return list(found.values())


def _of_run(config: Config) -> Iterator[tuple[str, str]]:
    try:
        made = task.build(config.task)
    except ChoiceError as error:
        yield "task", str(error)
        return
    longest = made.longest()
    if longest is not None and config.length > longest:
        yield "length", f"{config.length}: {config.task} has no problem longer than {longest}: write length: {longest}"
        return
    past = [n for n in parse_lengths(config.eval.lengths, config.length) if longest is not None and n > longest]
    if past:
        yield "lengths", f"{past[0]}: {config.task} has no problem longer than {longest}: leave lengths above it out"
    sequence = made.sequence(config.length)
    if config.positions == "coupled" and made.coupled(made.sample(np.random.default_rng(0), 1, config.length)) is None:
        yield "positions", f"{config.task} has no coupled positions: write positions: start"
    if config.positions != "start" and config.max_position < sequence:
        yield "max_position", f"{config.max_position} is below the longest training sequence, {sequence} tokens: raise it"
    try:
        causal = config.attention == "causal"
        shape = encoding.Shape(config.d_model, config.n_head, max_train_positions(config, made), causal)
        for each in encoding.make_all(config.encoding, shape):
            if config.positions == "coupled" and encoding.reads_distances(each):
                yield "positions", f"coupled ones do not ascend, and {config.encoding} reads distances: choose one that does not"
    except ChoiceError as error:
        yield "encoding", str(error)
