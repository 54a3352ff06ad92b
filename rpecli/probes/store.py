"""What a run's probes.jsonl holds of the same weights, measured the same way on the same strings; other lines are another's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rpecli import data
from rpecli.config import recipe
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel
from rpecli.run import directory as run
from rpecli.run.files import RunError, append_line, read_lines

FILE = "probes.jsonl"


def way(loaded: LoadedModel, weights: str, request: EvalRequest) -> dict[str, Any]:
    """How a model is looked at; what differs here is never mixed."""
    config = loaded.config
    return {
        "weights": weights,
        "encoding_override": request.encoding_override,
        "positions": data.fixed_kind(config),
        "eval_seed": config.eval.eval_seed,
    }


def facts(path: Path, request: EvalRequest) -> dict[str, Any]:
    """What tables and figures call a run: its record's names, and the encoding put in, if one was."""
    info = run.read(path)
    positions, swap = str(info.get("positions", "start")), request.encoding_override
    label = info["encoding"] + (f"+{positions}" if positions != "start" else "")
    known = {
        "run": path.name,
        "task": info["task"],
        "encoding": info["encoding"],
        "encoding_override": swap,
        "seed": info["seed"],
    }
    if swap is None:
        return known | {"label": label, "group": info.get("group") or "RPE"}
    return known | {"label": f"{label} as {recipe.label(swap)}", "group": run.group_of(swap)}


def lines(path: Path, probes: Sequence[str], same: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines of some probes that agree with `same`, oldest first."""
    found = [line for line in read_lines(path / FILE) if str(line.get("probe")) in probes]
    return [line for line in found if all(line.get(key) == value for key, value in same.items())]


def append(path: Path, line: dict[str, Any]) -> None:
    """Adds a line. Raises run.RunError where that cannot be, before or after an hour's work alike."""
    try:
        append_line(path / FILE, line)
    except OSError as error:
        raise RunError(f"{path / FILE} cannot be written: {error}: copy the run to where it can") from None
