"""What tests of evaluation share: a run evaluated in one call, its lines without times, blocks of sequences."""

from typing import Any

from rpecli import data
from rpecli import task as tasks
from rpecli.evaluate.measure import evaluate
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel
from rpecli.run.directory import Run


def evaluate_run(run: Run, lengths: str | None = None, **options: Any) -> list[str]:
    """Evaluates on the CPU with one thread; returns what could not be measured."""
    return evaluate(run, request(run, lengths, **options), "cpu")


def request(run: Run, lengths: str | None = None, samples: int | None = None, **options: Any) -> EvalRequest:
    """The run's own settings, with these lengths and this number of samples if given."""
    overrides = {key: value for key, value in (("lengths", lengths), ("samples", samples)) if value is not None}
    return EvalRequest(run.config.eval.model_copy(update=overrides), **options)


def lengths_of(run: Run) -> list[int]:
    return [line["length"] for line in run.evaluations()]


def numbers(run: Run) -> list[dict[str, Any]]:
    """The lines of eval.jsonl without the time that they took."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in run.evaluations()]


def blocks_of(loaded: LoadedModel, length: int, sequences: int) -> list[tasks.Batch]:
    return list(data.evaluation_blocks(loaded.task, length, sequences, 0))
