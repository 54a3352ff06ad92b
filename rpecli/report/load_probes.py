"""What `rpe inspect` kept in the runs of a report, of the weights, the way and the strings that the report's numbers are of."""

from dataclasses import dataclass
from typing import Any

from rpecli.report.aggregate import Panel
from rpecli.report.load import Run
from rpecli.run.files import read_lines

FILE = "probes.jsonl"


@dataclass(frozen=True)
class Seen:
    """One panel: its runs as they were looked into, and how alike every two of them attend."""

    panel: Panel
    runs: list[dict[str, Any]]
    pairs: list[dict[str, Any]]

    @property
    def factors(self) -> list[float]:
        """Lengths looked at, from the trained one on, as its multiples."""
        trained = self.panel.length
        return sorted({line["length"] / trained for each in self.runs for line in each["lengths"] if line["length"] >= trained})

    def of(self, label: str) -> list[dict[str, Any]]:
        """The runs of one row."""
        return [each for each in self.runs if each["label"] == label]

    @property
    def labels(self) -> list[str]:
        """Rows that were looked into, in the order of the tables."""
        return [row.label for row in self.panel.rows if self.of(row.label)]


def lines(each: Run, *probes: str) -> list[dict[str, Any]]:
    """Lines of some probes that are of this run's weights, measured as its evaluations were, on their strings; oldest first."""
    if not (each.path / FILE).is_file():
        return []
    found = [line for line in read_lines(each.path / FILE) if line.get("probe") in probes]
    return [line for line in found if _way(line) in {_way(own) for own in each.lines.values()} and _same_strings(each, line)]


def _way(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line.get(key) for key in ("weights", "encoding_override", "positions", "eval_seed"))


def _same_strings(each: Run, line: dict[str, Any]) -> bool:
    """On the report's strings of every length that both have, the training length among them."""
    marks = line["fingerprints"] if "fingerprints" in line else {str(line.get("length")): line.get("fingerprint")}
    own = {str(length): found.get("fingerprint") for length, found in each.lines.items()}
    shared = [own[length] == mark for length, mark in marks.items() if length in own]
    return bool(shared) and all(shared)


def read(panels: list[Panel]) -> dict[str, Seen]:
    """`{panel.title: Seen}`, of panels with a run that was looked into."""
    made = [_seen(panel) for panel in panels]
    return {seen.panel.title: seen for seen in made if seen.runs}


def _seen(panel: Panel) -> Seen:
    members = [(row, each) for row in panel.rows for each in row.evaluated]
    runs = [_look(found[-1], row.label, row.group, each) for row, each in members if (found := lines(each, "why"))]
    labels = {(each.path.name, _way(line)): row.label for row, each in members for line in each.lines.values()}
    pairs = {}
    for row, each in members:
        for line in lines(each, "similarity"):
            other = line["other"]["run"], _way(line["other"])
            if other in labels:
                pairs[str((each.path.name, _way(line), other))] = {
                    "runs": [each.path.name, other[0]], "labels": [row.label, labels[other]], "task": panel.title,
                    "encoding_overrides": [side["encoding_override"] for side in (line, line["other"])],
                    "layers": line["layers"]}  # fmt: skip
    return Seen(panel, runs, list(pairs.values()))


def _look(line: dict[str, Any], label: str, group: str, each: Run) -> dict[str, Any]:
    facts = {"run": each.path.name, "task": str(each.info["task"]), "label": label, "group": group, "seed": each.config.seed}
    return line | facts
