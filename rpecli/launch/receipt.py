"""What a job leaves in its run's record when all is done: the same job need not be started again to find out."""

import json
from functools import cache
from pathlib import Path

from rpecli.choice import ChoiceError, paths_in
from rpecli.config.recipe import Config
from rpecli.launch.job import Job
from rpecli.run.code import fingerprint_of, shipped_code
from rpecli.run.directory import Run
from rpecli.run.files import RunError, digest


def receipt(job: Job, config: Config | None = None) -> str | None:
    """A fingerprint of what was asked, of the code that measures, and of what is in the directory; None where files decide too.

    `config` saves reading the run's recipe.
    """
    request = job.request
    if request is None or request.overwrite or request.folder:
        return None
    evaluated = request.settings.eval_task if request.settings else None
    if paths_in(request.encoding_override or "") or paths_in(evaluated or ""):
        return None
    if config is None or paths_in(config.task) or paths_in(config.encoding):
        config = job.run.config
    settings = (request.settings or config.eval).model_dump()
    sizes = {file.name: file.stat().st_size for file in _results(job.run) if file.exists()}
    facts = [settings, request.encoding_override, job.probe, _code(config.task, config.encoding), sizes]
    facts.append(job.run.record.get("weights"))  # trained again, they have the size of the ones before
    return digest(json.dumps(facts, sort_keys=True).encode())


def is_done(job: Job, config: Config) -> bool:
    """Whether all that a job asks for is there, and recipe.yaml as it was: creating the run again mends that one."""
    try:
        expected = receipt(job, config) if job.run.is_trained and job.run.has_recipe else None
        return expected is not None and job.run.record.get("receipt") == expected
    except (RunError, OSError, ChoiceError):  # the last: a copy of the user's file is gone
        return False


def _results(run: Run) -> tuple[Path, ...]:
    return run.weights_file, run.evaluations_file, run.probes_file


@cache
def _code(task: str, encoding: str) -> str:
    return fingerprint_of(shipped_code(Config.from_keys(task=task, encoding=encoding)))
