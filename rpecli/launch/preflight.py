"""Checks of a recipe that need its tasks and encodings built: options, widths, position ranges, lengths."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from rpecli import catalog, encoding, options, task
from rpecli.choice import ChoiceError, parse_choice, paths_in, split_layers, split_switch
from rpecli.config.recipe import Config, Recipe, label
from rpecli.config.yaml_source import Problem, RecipeSource
from rpecli.data import missing_part
from rpecli.device import available_memory, memory_problem
from rpecli.evaluate.eval_set import evaluation_task
from rpecli.evaluate.grid import has_two_sizes
from rpecli.launch import sizes
from rpecli.model import max_train_positions
from rpecli.titles import display
from rpecli.trial import child
from rpecli.trial.child import Trial

WIDEST, LONGEST = 1024, 512  # of a model that encodings are tried in
FEW_POSITIONS = 1024
CHOICES = (("task", "tasks", task.Task), ("encoding", "encodings", encoding.Encoding))  # keys, kinds and classes


def notes(recipe: Recipe, source: RecipeSource) -> list[str]:
    """What there is to tell before training: what was guessed about a user's data, how it is split, keys that no run reads."""
    lengths = dict.fromkeys((config.task, config.length) for config in recipe.configs())
    built = {choice: task.build(choice) for choice in recipe.task}
    splits = [(choice, _split(built[choice], length)) for choice, length in lengths]
    every = [(choice, note) for choice in recipe.task for note in built[choice].notes] + splits
    return [f"{display('tasks', choice)}: {note}" for choice, note in every if note] + _unread(recipe, source)


def _unread(recipe: Recipe, source: RecipeSource) -> list[str]:
    """`mine.yaml:7: max_position: of use with positions offset, randomized or coupled only: no run reads it`."""
    return [
        str(Problem(source.locations[key], key, f"of use with {use} only: no run reads it"))
        for key, use in recipe.unread_keys.items()
        if key in source.locations and getattr(recipe, key) != Recipe.model_fields[key].default
    ]


def _split(built: task.Task, length: int) -> str | None:
    """`trains on 786 examples up to length 20; tests on 196 held out and 1,018 longer ones`; None where problems are drawn."""
    train, test = built.split("train", length), built.split("test", length)
    known, new, every = train.problems(length), test.problems(length), test.problems()
    if known is None or new is None or every is None:
        return None
    return f"trains on {known:,} examples up to length {length}; tests on {new:,} held out and {every - new:,} longer ones"


def problems(recipe: Recipe, source: RecipeSource) -> list[Problem]:
    """Every problem of a recipe once, with the place of the key that it is about."""
    unique = {}
    configs = list({_without_seeds(config): config for config in recipe.configs()}.values())
    for key, text in _same_in_other_words(recipe):
        where, name = source.place(key, "")
        unique[name, text] = Problem(where, name, text)
    for config, key, text in problems_of_runs(configs):
        where, name = source.place(key, config.task, config.encoding)
        unique[name, text] = Problem(where, name, text)
    return list(unique.values())


def problems_of_runs(configs: list[Config]) -> Iterator[tuple[Config, str, str]]:
    """Runs that cannot be trained, with the key that is at fault and what is wrong with it."""
    faults = _faults_of(configs)
    for config in configs:
        yield from ((config, key, text) for key, text in faults.get(config) or _problems_of(config))


def option_problems(recipe: Recipe, source: RecipeSource) -> list[Problem]:
    """Options that the tasks and encodings that ship do not have, of a recipe of which other things are wrong too."""
    problems = []
    for key, kind, base in CHOICES:
        for choice in getattr(recipe, key):
            try:
                options.meaning(kind, base, choice)
            except ChoiceError as error:
                problems.append(Problem(*source.place(key, choice), str(error)))
    return problems


def _same_in_other_words(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Encodings and tasks of a recipe that differ in spelling alone: `rope` and `rope:base=1e4`. They would count twice."""
    for key, kind, base in CHOICES:
        first: dict[str, str] = {}
        for choice in getattr(recipe, key):
            try:
                meaning = options.meaning(kind, base, choice)
            except ChoiceError:
                continue  # told with the run
            if other := first.get(meaning):
                yield key, f"{other} and {choice} are the same {key} in two spellings: keep one"
            first.setdefault(meaning, choice)


def _memory(config: Config, sequence: int, vocabulary: int) -> str | None:
    """What training on sequences of so many tokens lacks of memory."""
    return memory_problem(sizes.training_bytes(config, sequence, vocabulary), available_memory())


def _too_large(config: Config, sequence: int, vocabulary: int) -> tuple[str, str] | None:
    """The key and the problem of a model or a batch that does not fit in memory."""
    problem = _memory(config, sequence, vocabulary)
    if not problem:
        return None
    if not _memory(config, sequence, 0):
        remedy = f"the vocabulary of {label(config.task)} has {vocabulary:,} tokens: lower it, or d_model"
        return "task", f"training {problem}: {remedy}"
    key = "length" if sequence > config.d_model * config.n_layer else "d_model"
    return key, f"training {problem}: lower d_model, n_layer, length or tokens"


def _without_seeds(config: Config) -> str:
    """Equal for configs that have the same problems."""
    return config.model_dump_json(exclude={"seed", "data_seed"})


def _faults_of(configs: list[Config]) -> dict[Config, list[tuple[str, str]]]:
    """What is wrong with the user's own code, and with options of what ships, by config: found by trying each once."""
    tasks = {config: _tasks_to_try(config) for config in configs}
    wrong = _problems_of_trials([trial for trials in tasks.values() for trial in trials])
    faults = {config: [("task", wrong[trial]) for trial in trials if trial in wrong] for config, trials in tasks.items()}
    encodings = {config: encodings_to_try(config, _sequence(config)) for config in configs if not faults[config]}
    wrong = _problems_of_trials([trial for trials in encodings.values() for trial in trials])
    for config, trials in encodings.items():
        faults[config] += [("encoding", wrong[trial]) for trial in trials if trial in wrong]
    return faults


def _problems_of_trials(trials: list[Trial]) -> dict[Trial, str]:
    unique = list(dict.fromkeys(trials))
    return {trial: problem for trial, problem in zip(unique, child.problems(unique), strict=True) if problem}


def _tasks_to_try(config: Config) -> list[Trial]:
    lengths = tuple(dict.fromkeys((config.min_length, config.length, 2 * config.length)))
    return [Trial("tasks", config.task, lengths=lengths)] if paths_in(config.task) else []


def encodings_to_try(config: Config, sequence: int = 16, choice: str | None = None) -> list[Trial]:
    """The user's own encodings, and those that ship if they have options, of a config or in its place."""
    parts = [part for phase in split_switch(choice or config.encoding) if phase for part in split_layers(phase)]
    width, heads = (config.d_model, config.n_head) if config.d_model <= WIDEST else (64, 4)
    causal = config.attention == "causal"
    return [
        Trial("encodings", part, width, heads, (min(sequence, LONGEST),), causal)
        for part in dict.fromkeys(parts)
        if paths_in(part) or parse_choice(part)[1]
    ]


def faults(trials: Iterable[Trial]) -> list[str]:
    """What is wrong with code that a command names beside a recipe; shipped code without options is not tried.

    Raises ChoiceError for a file that is not there.
    """
    tried = [t for t in trials if paths_in(t.choice) or parse_choice(t.choice)[1]]
    for trial in tried:
        for path in paths_in(trial.choice):
            catalog.find(trial.kind, str(path))
    return list(_problems_of_trials(tried).values())


def _sequence(config: Config) -> int:
    """The longest sequence of training, or its range of positions; a small one where the task has no such length."""
    if config.positions != "start":
        return config.max_position
    try:
        built = task.build(config.task)
        if _too_large(config, config.length, built.vocabulary):  # to draw a sequence takes as much
            return 16
        return built.sequence(min(config.length, LONGEST)) if built.has_length(config.length) else 16
    except ChoiceError:
        return 16


def _encoding_bytes(choice: str, shape: encoding.Shape) -> int:
    """Weights, gradients and averages of encodings, told from how their parameters grow with a few positions."""
    few, more = FEW_POSITIONS, 2 * FEW_POSITIONS
    if shape.max_train_length <= more:
        return 0
    at_few, at_more = (
        sum(p.numel() for made in encoding.make_all(choice, replace(shape, max_train_length=n)) for p in made.parameters())
        for n in (few, more)
    )
    return 4 * sizes.FLOAT * (at_few + (at_more - at_few) * (shape.max_train_length - few) // (more - few))


def _problem_of_choice(config: Config, built: task.Task) -> str | None:
    """Why `checkpoint_lengths` cannot choose the weights of a run."""
    name, asked = label(config.task), config.choosing_lengths
    held_out = built.split("validation", config.length)
    if missing := [n for n in asked if not held_out.has_length(n)]:
        return f"{name} holds out no problem {held_out.why_not(missing[0])}: write lengths that it has, such as 1x"
    if built.measure == "perplexity":  # of running text no string is ever right whole
        return f"{name} is measured by perplexity, and whole strings are counted: remove it"
    last = asked[-1]
    if problem := _memory(config, last, built.vocabulary) or _memory(config, built.sequence(last), built.vocabulary):
        return f"a batch of the longest {problem}: lower them"
    if problem := memory_problem(sizes.validation_bytes(config, asked), available_memory()):
        return f"holding their strings {problem}: write fewer lengths, or lower validation_samples"
    return None


def _problems_of(config: Config) -> Iterator[tuple[str, str]]:
    """Keys of one run, and what is wrong with them."""
    try:
        built = task.build(config.task)
    except ChoiceError as error:
        yield "task", str(error)
        return
    # a sequence has as many tokens at least, and the vocabulary has its vectors; only then is it safe to draw one
    if too_large := _too_large(config, config.length, built.vocabulary):
        yield too_large
        return
    try:
        evaluation_task(config)
    except ChoiceError as error:
        yield "eval_task", str(error)
        return
    if not built.has_length(config.length):
        nearest = built.nearest_length(config.length)
        remedy = f"write length: {nearest}" if built.has_length(nearest) else "no length near it has one either"
        yield "length", f"{config.length}: {label(config.task)} has no problem {built.why_not(config.length)}: {remedy}"
        return
    if problem := missing_part(built, config.length, ("train", "validation")):
        yield "task", f"{label(config.task)}: {problem}"
        return
    every = range(config.min_length, config.length + 1) if config.validation_lengths == "all" else (config.length,)
    if problem := memory_problem(sizes.validation_bytes(config, every), available_memory()):
        yield "validation_samples", f"holding the strings of validation {problem}: lower it"
        return
    sequence = built.sequence(config.length)
    if config.checkpoint_lengths and (problem := _problem_of_choice(config, built)):
        yield "checkpoint_lengths", problem
        return
    longest = max([sequence, *map(built.sequence, config.choosing_lengths[-1:])])
    if config.positions == "coupled" and built.coupled(built.sample(np.random.default_rng(0), 1, config.length)) is None:
        yield "positions", f"{config.task} has no coupled positions: write positions: start"
    if config.eval.grid and not has_two_sizes(built):
        yield (
            "grid",
            f"{config.task} has one size, its length: leave grid out, or write it under by_task of the tasks that have two",
        )
    if config.positions != "start" and config.max_position < sequence:
        yield "max_position", f"{config.max_position} is below the longest training sequence, {sequence} tokens: raise it"
    if too_large := _too_large(config, sequence, built.vocabulary):
        yield too_large
        return
    shape = encoding.Shape(config.d_model, config.n_head, max_train_positions(config, built), config.attention == "causal")
    try:
        if problem := memory_problem(_encoding_bytes(config.encoding, shape), available_memory()):
            yield "max_position", f"encoding {config.encoding} {problem}: lower max_position or d_model"
            return
        encodings = encoding.make_all(config.encoding, shape)
    except ChoiceError as error:
        yield "encoding", str(error)
        return
    try:
        for made in encodings:
            made.on_scores.fit(longest)
    except encoding.TooLongError as error:
        yield ("checkpoint_lengths" if longest > sequence else "length"), str(error)
    for made in encodings:
        if made.named_symbols > built.symbols:
            known = f"{label(config.task)} has the symbols 0 to {built.symbols - 1:,}"
            yield "encoding", f"encoding {config.encoding} names symbol {made.named_symbols - 1:,}, and {known}: name these"
    if config.positions == "coupled" and any(map(encoding.reads_distances, encodings)):
        yield "positions", f"coupled positions do not ascend, and {config.encoding} reads distances: choose another encoding"
