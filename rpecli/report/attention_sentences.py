"""What `rpe inspect` found, in one sentence per encoding: a pattern that heads follow, and its weight at longer lengths."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rpecli.report.format import format_factor, format_percent
from rpecli.report.probe_values import ShiftLines, run_name
from rpecli.run.records import PatternedHead, ShiftLine, strongest_head
from rpecli.table import plural
from rpecli.titles import display

Pattern = tuple[str, int, int]  # family, growth, offset


def attention_sentences(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """`Copy, RoPE: the strongest head attends n+1 back: 96 % at 1x, 6 % at 4x of its attention.`, in the order of the runs."""
    return [f"{name}: {_sentence(members)}" for name, members in _by_name(runs).items()]


def _by_name(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The runs of each task and encoding; of a task with several training lengths, those of each."""
    trained, by_name = defaultdict[str, set[int]](set), defaultdict[str, list[Mapping[str, Any]]](list)
    for run in runs:
        trained[run["task"]].add(run["train_length"])
    for run in runs:
        length = f", trained to {run['train_length']}" if len(trained[run["task"]]) > 1 else ""
        by_name[f"{display('tasks', run['task'])}{length}, {run['title']}"].append(run)
    return by_name


def _sentence(runs: Sequence[Mapping[str, Any]]) -> str:
    """The pattern of the strongest head of most runs, with its mean weight over those runs."""
    heads = [(run, head) for run in runs if (head := strongest_head(run["patterned_heads"], run["train_length"]))]
    if not heads:
        return "no head gives half of its attention to one position."
    pattern, _ = Counter(_pattern(head) for _, head in heads).most_common(1)[0]
    same = [(run, head) for run, head in heads if _pattern(head) == pattern]
    run, head = same[0]
    factors = {length: format_factor(int(length), run["train_length"]) for length in head["share"]}
    weights = {factor: fmean(one["share"][length] for _, one in same) for length, factor in factors.items()
               if int(length) >= run["train_length"] and all(length in one["share"] for _, one in same)}  # fmt: skip
    shares = ", ".join(f"{format_percent(weight)} at {factor}" for factor, weight in weights.items())
    of = f" ({len(same)} of {plural(len(runs), 'run')})" if len(runs) > 1 else ""
    return f"the strongest head attends {in_words(head)}{of}: {shares} of its attention."


def _pattern(head: PatternedHead) -> Pattern:
    return head["family"], head["growth"], head["offset"]


def in_words(head: PatternedHead) -> str:
    """`n+1 back`, `3 back`, `to place 0`, where n is the length of the problem."""
    kind, _, offset = head["pattern"].partition(" ")
    return f"to place {offset}" if kind == "place" else f"{offset} back"


def shift_sentences(lines: ShiftLines, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """`Copy, RoPE: predictions kept: 98 % when all positions move by 256, 60 % behind a prefix of 256.`"""
    return [
        f"{name}: {_kept([line for run in members for line in lines[run_name(run)]])}."
        for name, members in _by_name(runs).items()
    ]


def _kept(lines: Sequence[ShiftLine]) -> str:
    farthest = max(line["shift"] for line in lines)
    where = {"positions": f"when all positions move by {farthest}", "prefix": f"behind a prefix of {farthest}"}
    changed = {
        place: [line["changed"] for line in lines if line["probe"] == probe and line["shift"] == farthest]
        for probe, place in where.items()
    }
    kept = [f"{format_percent(1 - fmean(values))} {place}" for place, values in changed.items() if values]
    return f"predictions kept: {', '.join(kept)}"
