"""The lines of eval.jsonl that answer a request: of these weights, this encoding, these positions, on this evaluation set."""

from functools import lru_cache
from pathlib import Path

from rpecli import catalog, data
from rpecli import task as tasks
from rpecli.choice import relative_to
from rpecli.config.recipe import Config, EvalSettings
from rpecli.evaluate import grid
from rpecli.evaluate.data_set import open_set
from rpecli.evaluate.eval_set import eval_lengths, eval_set
from rpecli.evaluate.grid import Sizes
from rpecli.evaluate.request import EvalRequest
from rpecli.run.code import evaluation_with_copies
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.records import EvalLine
from rpecli.task import Task

Place = tuple[int, Sizes | None]  # a length; or the greater size of a cell of a grid, and both sizes


def config_of(run: Run, request: EvalRequest) -> Config:
    """The config of a run with the settings of a request; a data set has its own seed and number of sequences."""
    settings = request.settings or run.config.eval
    if request.folder is not None:
        settings = open_set(request.folder).settings(settings)
    return run.config.model_copy(update={"eval": evaluation_with_copies(settings, run.config.task, run.path)})


def task_override(run: Run, config: Config) -> str | None:
    """The task of the evaluation as a line names it, where it is not the trained one; a path is relative to the run."""
    return config.eval.eval_task and relative_to(config.eval.eval_task, run.path)


def agreeing_lines(run: Run, config: Config, weights: str, request: EvalRequest) -> list[EvalLine]:
    """The lines that were measured as a request asks, at whatever lengths and on whatever sets, oldest first."""
    asked = {
        "weights": weights,
        "encoding_override": request.encoding_override,
        "task_override": task_override(run, config),
        "positions": data.fixed_kind(config),
        "loops": data.other_loops(config),
        "eval_seed": config.eval.eval_seed,  # random positions are drawn from it too
    }
    return [line for line in run.all_evaluations() if all(line.get(key) == value for key, value in asked.items())]


def asked_lines(run: Run, request: EvalRequest) -> dict[int, EvalLine]:
    """The latest line of each length that answers the request. Raises ChoiceError or DataSetError where a set cannot be had."""
    return {length: line for (length, sizes), line in _answers(run, request).items() if line is not None and sizes is None}


def asked_cells(run: Run, request: EvalRequest) -> dict[Sizes, EvalLine]:
    """The latest line of each cell of the grid that answers the request."""
    return {sizes: line for (_, sizes), line in _answers(run, request).items() if line is not None and sizes is not None}


def is_answered(run: Run, request: EvalRequest) -> bool:
    """Whether nothing is left to measure."""
    return not request.overwrite and all(_answers(run, request).values())


def places(config: Config, task: Task, folder: Path | None) -> list[Place]:
    """The lengths that a request asks for, then the cells of its grid."""
    lengths: list[Place] = [(length, None) for length in eval_lengths(config, task, folder)]
    return lengths + [(max(sizes), sizes) for sizes in (grid.cells(config, task) if folder is None else [])]


def place_of(line: EvalLine) -> Place:
    """The length or the cell that a line is about."""
    sizes = line["grid"]["sizes"] if "grid" in line else None
    return line["length"], None if sizes is None else (sizes[0], sizes[1])


def _answers(run: Run, request: EvalRequest) -> dict[Place, EvalLine | None]:
    """Each length and cell that the request asks for, and the latest line that answers it."""
    config = config_of(run, request)
    answers: dict[Place, EvalLine | None] = {}
    answers |= dict.fromkeys(places(config, tasks.build(config.evaluated_task), request.folder))
    for line in agreeing_lines(run, config, _weights_of(run), request):
        place = place_of(line)
        if place in answers and line["fingerprint"] == _set_fingerprint(config, place, request.folder):
            answers[place] = line
    return answers


def _weights_of(run: Run) -> str:
    """The fingerprint of the weights file. Raises RunError where it cannot be read."""
    try:
        return catalog.fingerprint(run.weights_file)
    except OSError as error:
        raise RunError(f"{run.weights_file} cannot be read: {error.strerror}") from None


def _set_fingerprint(config: Config, place: Place, folder: Path | None) -> str:
    if folder is not None:
        return open_set(folder).fingerprints[place[0]]
    settings = config.eval
    return _drawn_fingerprint(
        config.evaluated_task, config.length, place, settings.samples, settings.eval_tokens, settings.eval_seed
    )


@lru_cache(maxsize=1024)  # the runs of a study share their sets
def _drawn_fingerprint(task: str, trained_to: int, place: Place, samples: int, eval_tokens: int, eval_seed: int) -> str:
    settings = EvalSettings(samples=samples, eval_tokens=eval_tokens, eval_seed=eval_seed)
    (length, sizes), built = place, tasks.build(task)
    drawn = grid.of_sizes(built, sizes) if sizes else built
    return data.fingerprint(eval_set(Config(task=task, length=trained_to, encoding="", eval=settings), drawn, length))
