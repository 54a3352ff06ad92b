"""Jobs as commands, `rpe work RUN ...`: the command of a job does what the job asks for, and its ending says whether it did."""

from pathlib import Path
from typing import Any

import pytest
from helpers import training as tiny

from rpecli.config.settings import EvalSettings
from rpecli.evaluate.request import EvalRequest
from rpecli.launch import command
from rpecli.launch.job import DONE, FAILED, Job
from rpecli.run.directory import Run

OWN = '''"""No position information, from a file of the user's."""

from rpecli.encoding import Encoding


class Mine(Encoding):
    pass
'''


def work(rpe: tiny.Rpe, job: Job) -> tiny.Result:
    return rpe(*command.words([job])[4:])


def ending(job: Job) -> int:
    return command.ending_of(job.run, job, "the task", Path("no.log")).code


@pytest.fixture
def run(here: Path) -> Run:
    return tiny.trained_run(Path("runs"), steps=2)


def evaluation(run: Run, **request: Any) -> Job:
    return Job(run, train=False, request=EvalRequest(**request), device="cpu")


def test_an_evaluation_elsewhere_measures_what_was_asked_and_no_attention(run: Run, rpe: tiny.Rpe) -> None:
    settings = EvalSettings(lengths="1x,3x", samples=16)
    job = evaluation(run, settings=settings)
    assert ending(job) == FAILED
    assert work(rpe, job).code == 0
    assert ending(job) == DONE
    assert [(line["length"], line["n"]) for line in run.evaluations()] == [(4, 16), (12, 16)]
    assert not run.probes()


def test_an_encoding_is_swapped_in_elsewhere(run: Run, rpe: tiny.Rpe) -> None:
    settings = run.config.eval.model_copy(update={"lengths": "1x"})
    job = evaluation(run, settings=settings, encoding_override="none")
    assert ending(job) == FAILED
    assert work(rpe, job).code == 0
    assert ending(job) == DONE
    assert {line["encoding_override"] for line in run.evaluations()} == {"none"}
    assert ending(evaluation(run, settings=settings)) == FAILED


def test_a_data_set_is_read_elsewhere(run: Run, rpe: tiny.Rpe) -> None:
    assert rpe("data", "copy", "--lengths", "4,8", "--samples", "8", "--out", "set").code == 0
    job = evaluation(run, folder=Path("set"))
    assert ending(job) == FAILED
    assert work(rpe, job).code == 0
    assert ending(job) == DONE
    assert {(line["length"], line["n"]) for line in run.evaluations()} == {(4, 8), (8, 8)}


def test_what_a_task_would_do_again_each_time_it_is_started_is_refused(run: Run, rpe: tiny.Rpe) -> None:
    result = rpe("eval", "--overwrite", "--on", "slurm:time=5")
    assert result.code == 2
    assert result.err.startswith("--overwrite: with --on slurm:time=5 a task that was stopped is started again")
