"""The lines of a run's probes.jsonl, looked up by the weights, the conditions and the evaluation sets they belong to."""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rpecli import data
from rpecli.choice import canonical
from rpecli.config import recipe
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel
from rpecli.run.directory import Run, group_of
from rpecli.run.records import AttentionLine, EvalIdentity, ProbeLine, RunIdentity
from rpecli.titles import display, display_trained

NOT_TOLD = ("task", "encoding", "positions", "seed", "data_seed")  # keys that titles have, or that make repeats of a run


@dataclass(frozen=True)
class InspectedRun:
    """A run, how its model was loaded, and where its heads attend."""

    run: Run
    request: EvalRequest
    task: str  # with its options
    identity: EvalIdentity
    line: AttentionLine

    @property
    def name(self) -> RunIdentity:
        return {"run": self.run.name, **self.identity}

    @property
    def fingerprint(self) -> str:
        """Of the evaluation set at the training length."""
        return self.line["fingerprints"][str(self.line["train_length"])]

    @property
    def comparable_by(self) -> tuple[Any, ...]:
        """What two runs must share to be compared: task, evaluation set and direction of attention."""
        return self.task, self.line["train_length"], self.fingerprint, self.identity["eval_seed"], self.line["causal"]


def eval_identity(loaded: LoadedModel, weights: str, request: EvalRequest) -> EvalIdentity:
    """The weights and the conditions of a probe; lines that differ here are never mixed."""
    config = loaded.config
    return {
        "weights": weights,
        "encoding_override": request.encoding_override,
        "positions": data.fixed_kind(config),
        "eval_seed": config.eval.eval_seed,
        "loops": data.other_loops(config),
    }


def run_names(run: Run, request: EvalRequest) -> dict[str, Any]:
    """How tables and figures name a run: task, encoding and any override of it, seed, label, title and group."""
    record, override = run.record, request.encoding_override
    positions = str(record.get("positions", "start"))
    label = record["encoding"] + (f"+{positions}" if positions != "start" else "")
    names = {"run": run.name, "task": record["task"], "encoding": record["encoding"]}
    names |= {"encoding_override": override, "seed": record["seed"]}
    title = display_trained(run.config.encoding, positions, marked=True)
    if override is None:
        return names | {"label": label, "title": title, "group": record.get("group") or "RPE"}
    swapped = canonical(override, run.path)
    title = f"{title} as {display('encodings', swapped)}"
    return names | {"label": f"{label} as {recipe.label(swapped)}", "title": title, "group": group_of(swapped)}


def tell_apart(records: Sequence[dict[str, Any]], runs: Collection[Run]) -> None:
    """Adds the recipe keys in which runs of one task, encoding and training length differ to their titles: `RoPE, steps=500`."""
    configs, alike = {run.name: run.config for run in runs}, defaultdict[Any, list[dict[str, Any]]](list)
    for record in records:
        alike[record["task"], record["title"], record["train_length"]].append(record)
    for members in alike.values():
        settings = [configs[record["run"]].identity for record in members]
        keys = [key for key in settings[0] if key not in NOT_TOLD and len({str(own.get(key)) for own in settings}) > 1]
        for record, own in zip(members, settings, strict=True):
            record["title"] += "".join(f", {key}={own.get(key)}" for key in keys)


def matching_lines(run: Run, probes: Sequence[str], keys: Mapping[str, object]) -> list[Any]:
    """The lines of some probes that agree in all of `keys`, oldest first."""
    lines = [line for line in run.probes() if line.get("probe") in probes]
    return [line for line in lines if all(line.get(key) == value for key, value in keys.items())]


def append(run: Run, line: ProbeLine) -> None:
    """Adds a line; nothing is kept in a directory that is read-only. Raises NotWritten where a disk is full, or the like."""
    if os.access(run.path, os.W_OK):
        run.append_probe(line)
