"""The lines of eval.jsonl that answer a request: of these weights, this encoding, these positions, on this evaluation set."""

from functools import lru_cache
from pathlib import Path

from rpecli import catalog, data
from rpecli import task as tasks
from rpecli.config.recipe import Config, EvalSettings
from rpecli.evaluate.data_set import open_set
from rpecli.evaluate.eval_set import eval_lengths, eval_set
from rpecli.evaluate.request import EvalRequest
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.records import EvalLine


def config_of(run: Run, request: EvalRequest) -> Config:
    """The config of a run with the settings of a request; a data set has its own seed and number of sequences."""
    settings = request.settings or run.config.eval
    if request.folder is not None:
        settings = open_set(request.folder).settings(settings)
    return run.config.model_copy(update={"eval": settings})


def identity(config: Config, weights: str, request: EvalRequest) -> dict[str, object]:
    """What a line has to say, beside its length and the fingerprint of its set, to answer a request."""
    return {
        "weights": weights,
        "encoding_override": request.encoding_override,
        "task_override": config.eval.eval_task,
        "positions": data.fixed_kind(config),
        "eval_seed": config.eval.eval_seed,  # random positions are drawn from it too
    }


def agreeing_lines(run: Run, config: Config, weights: str, request: EvalRequest) -> list[EvalLine]:
    """The lines that were measured as a request asks, at whatever lengths and on whatever sets, oldest first."""
    asked = identity(config, weights, request)
    return [line for line in run.evaluations() if all(line.get(key) == value for key, value in asked.items())]


def asked_lines(run: Run, request: EvalRequest) -> dict[int, EvalLine]:
    """The latest line of each length that answers the request. Raises ChoiceError or DataSetError where a set cannot be had."""
    return {length: line for length, line in _answers(run, request).items() if line is not None}


def is_answered(run: Run, request: EvalRequest) -> bool:
    """Whether nothing is left to measure."""
    return not request.overwrite and all(_answers(run, request).values())


def _answers(run: Run, request: EvalRequest) -> dict[int, EvalLine | None]:
    """Each length that the request asks for, and the latest line that answers it."""
    config = config_of(run, request)
    answers: dict[int, EvalLine | None] = {}
    answers |= dict.fromkeys(eval_lengths(config, tasks.build(config.evaluated_task), request.folder))
    for line in agreeing_lines(run, config, _weights_of(run), request):
        length = line["length"]
        if length in answers and line["fingerprint"] == _set_fingerprint(config, length, request.folder):
            answers[length] = line
    return answers


def _weights_of(run: Run) -> str:
    """The fingerprint of the weights file. Raises RunError where it cannot be read."""
    try:
        return catalog.fingerprint(run.weights_file)
    except OSError as error:
        raise RunError(f"{run.weights_file} cannot be read: {error.strerror}") from None


def _set_fingerprint(config: Config, length: int, folder: Path | None) -> str:
    if folder is not None:
        return open_set(folder).fingerprints[length]
    settings = config.eval
    return _drawn_fingerprint(
        config.evaluated_task, config.length, length, settings.samples, settings.eval_tokens, settings.eval_seed
    )


@lru_cache(maxsize=1024)  # the runs of a study share their sets
def _drawn_fingerprint(task: str, trained_to: int, length: int, samples: int, eval_tokens: int, eval_seed: int) -> str:
    settings = EvalSettings(samples=samples, eval_tokens=eval_tokens, eval_seed=eval_seed)
    return data.fingerprint(eval_set(Config(task=task, length=trained_to, encoding="", eval=settings), tasks.build(task), length))
