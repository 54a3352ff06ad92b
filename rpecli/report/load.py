"""Reads run directories into one frame: a row per run and length, runs without evaluations kept, and what is wrong said."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rpecli.choice import ChoiceError, is_path, parse_choice, split_layers
from rpecli.config.recipe import Config, label
from rpecli.report import stats
from rpecli.run import directory as run
from rpecli.run.files import RunError, read_lines

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    import pandas as pd

APART = ("format", "task", "encoding", "positions", "seed", "length")  # keys that tables have a place of their own for
LINE = ("exact_match", "exact_match_eos", "token_accuracy", "nll", "chance", "untrained_positions", "fingerprint", "eval_seed")
RECORD = ("step", "parameters", "tokens", "tokens_per_second", "seconds", "commit", "dirty", "machine", "device", "error")
CURVE = ("steps_to_90", "tokens_to_90", "steps_to_99", "tokens_to_99")
WHOLE = ("seed", "training_length", "length", "sequence", "n", "eval_seed", "steps", "step", "parameters", "tokens", *CURVE)
GROUPS = ("APE", "RPE", "content", "none")  # the order of every table and legend
NAMED = 4  # runs named in one message


@dataclass(frozen=True)
class Run:
    """One run as a report uses it: its record, its recipe, the one evaluation of each length that counts, and all of them."""

    path: Path
    info: dict[str, Any]
    config: Config
    lines: dict[int, dict[str, Any]]
    measured: dict[int, list[dict[str, Any]]]
    settings: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.info.get("id", self.path.name))

    @property
    def failed(self) -> bool:
        return bool(self.info["status"] == "failed")

    def measure(self, name: str) -> dict[int, float]:
        """`{length: value}` of one measure, where it was measured."""
        return {length: line[name] for length, line in self.lines.items() if line.get(name) is not None}

    @cached_property  # curves, figures and targets all ask
    def validations(self) -> list[dict[str, Any]]:
        """The validations of a trained run; none where it kept none."""
        path = self.path / "metrics.jsonl"
        found = read_lines(path) if self.info["status"] == "trained" else []
        return [line for line in found if line.get("token_accuracy") is not None]

    @property
    def solved(self) -> bool | None:
        """Whether the training length was learned; a run that failed did not; None when nobody measured it."""
        return False if self.failed else stats.solved(self.measure("exact_match"), self.config.length)


@dataclass(frozen=True)
class Collected:
    """Everything read: the runs by id, their frame, and a message for all that is missing or wrong."""

    runs: list[Run]
    frame: "pd.DataFrame"
    problems: list[str]


def collect(paths: Iterable[Path]) -> Collected:
    """The runs of these directories. Raises ReportError when there is nothing to report, or what there is cannot be compared."""
    unique = sorted({path.resolve(): path for path in paths}.values())
    if not unique:
        raise ReportError("no runs to report: name run directories, or train some first: rpe train")
    runs, problems = _read_all(unique)
    runs, twice = _once_each(runs)
    runs = _on_same_strings(runs)
    problems += twice + _missing(runs)
    if not any(each.lines for each in runs):
        raise ReportError("\n".join(["nothing is evaluated, so there is nothing to report:", *problems]))
    return Collected(runs, frame(runs), problems + _other_code(runs) + _changed_files(runs))


def _read_all(paths: list[Path]) -> tuple[list[Run], list[str]]:
    runs, problems = [], []
    for path in paths:
        try:
            made, said = _read(path)
            runs += made
            problems += said
        except (RunError, ChoiceError) as error:
            problems.append(f"{error} (left out)")
    return sorted(runs, key=lambda r: (r.id, str(r.path))), problems


def _read(path: Path) -> tuple[list[Run], list[str]]:
    """A run, and one more for each other way it was measured: with another encoding in its place, at other positions."""
    info, config = run.read(path), run.config_of(path)
    if info.setdefault("group", "RPE") not in GROUPS:
        raise RunError(f"{path}: its encoding calls itself {info['group']!r}: the groups are {', '.join(GROUPS)}")
    if "family" not in info:
        info["family"] = _family(config)
    lines, problems = read_lines(path / "eval.jsonl"), []
    if lines and info["status"] != "trained":
        problems.append(f"{path}: {info['status']}, so its evaluations are of unfinished weights and left out")
        lines = []
    newest = [line for line in lines if line.get("weights") == lines[-1].get("weights")]
    ways = list(dict.fromkeys(_way(line, config) for line in newest)) or [("", None)]
    older = sorted({line["length"] for line in lines if "length" in line} - {line.get("length") for line in newest})
    if older:
        problems.append(f"{path}: measured at {', '.join(map(str, older))} with older weights only, left out: rpe eval {path}")
    made = []
    for way, encoding in ways:
        measured = _by_length([line for line in newest if _way(line, config)[0] == way], path)
        group = {"group": run.group_of(encoding)} if encoding else {}
        settings = _settings(info, config) | ({"measured": way} if way else {})
        made.append(Run(path, info | group | {"encoding": info["encoding"] + way}, config, {}, measured, settings))
    return made, problems


def _family(config: Config) -> str:
    """For runs made before the record held it: what the task's file says, where it is still there."""
    try:
        return run.family_of(config.task)
    except ChoiceError:
        return "other"


def _way(line: dict[str, Any], config: Config) -> tuple[str, str | None]:
    """How a line was measured where that is not the run's own way, as a label says it; and the encoding put in, if any."""
    own = "start" if config.positions == "offset" else config.positions
    encoding, positions = line.get("encoding_override"), line.get("positions", own)
    swap = f" as {label(encoding)}" if encoding else ""
    return swap + (f" at {positions}" if positions != own else ""), encoding


def _by_length(lines: list[dict[str, Any]], path: Path) -> dict[int, list[dict[str, Any]]]:
    """The evaluations of each length, the one on most sequences last, the later one of equals after the earlier."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        missing = [key for key in ("length", "n", "exact_match", "token_accuracy") if line.get(key) is None]
        if missing:
            raise RunError(f"{path / 'eval.jsonl'}: a line has no {', '.join(missing)}: delete that line: rpe eval {path}")
        found[line["length"]].append(line)
    return {length: sorted(found[length], key=lambda line: line["n"]) for length in sorted(found)}


def _settings(info: dict[str, Any], config: Config) -> dict[str, Any]:
    """What else decides the weights: runs that differ here are never averaged."""
    found = {key: value for key, value in config.identity.items() if key not in APART}
    if any(
        is_path(parse_choice(part)[0]) for part in split_layers(config.encoding)
    ):  # two files of the same name are two encodings
        found["file"] = info.get("sources", {}).get("encodings")
    return found


def _once_each(runs: list[Run]) -> tuple[list[Run], list[str]]:
    """Copies of one run (same recipe, same seed) count once: a copy is no second seed."""
    kept: dict[str, Run] = {}
    problems = []
    for each in sorted(runs, key=lambda r: not r.measured):
        key = f"{each.config.task} {each.config.encoding} {each.config.positions} {each.config.seed} {each.config.length}"
        key += f" {each.settings}"
        if key in kept:
            problems.append(f"{each.path} and {kept[key].path} are the same run (recipe and seed): only the second counts")
        kept.setdefault(key, each)
    return sorted(kept.values(), key=lambda r: (r.id, str(r.path))), problems


def _missing(runs: list[Run]) -> list[str]:
    """Messages for runs without all that tables want."""
    problems = []
    for each in runs:
        if each.failed:
            error = " ".join(str(each.info.get("error") or "no error recorded").split())
            problems.append(f"{each.path}: failed ({error[:200]}): counted as not solved, in no mean: see its log.txt")
    unfinished = [r for r in runs if r.info["status"] not in ("trained", "failed")]
    trained = [r for r in runs if r.info["status"] == "trained"]
    silent = [r for r in trained if not r.lines]
    unknown = [r for r in trained if r.lines and r.config.length not in r.lines]
    for group, says in (
        (unfinished, "not trained to the end, so in no mean: rpe train RUN/recipe.yaml for each of"),
        (silent, "trained but not evaluated: rpe eval"),
        (unknown, "not evaluated at the training length, so whether solved is unknown: rpe eval --lengths 1x"),
    ):
        if group:
            problems.append(f"{len(group)} run{'s' * (len(group) > 1)} {says} {_names(group)}")
    return problems


def _names(runs: list[Run]) -> str:
    more = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
    return " ".join(str(each.path) for each in runs[:NAMED]) + more


def _on_same_strings(runs: list[Run]) -> list[Run]:
    """Picks each run's evaluations. Raises ReportError when runs of one task share no evaluation set at a length."""
    together: dict[tuple[str, int], list[Run]] = defaultdict(list)
    for each in runs:
        for length in each.measured:
            together[str(each.info["task"]), length].append(each)
    chosen = {key: _shared_set(*key, members) for key, members in sorted(together.items())}
    return [replace(each, lines=_lines(each, chosen)) for each in runs]


def _shared_set(task: str, length: int, runs: list[Run]) -> str | None:
    """The evaluation set that all these runs were measured on: the one of most sequences, then the latest."""
    ranks = [{line.get("fingerprint"): place for place, line in enumerate(each.measured[length])} for each in runs]
    shared = set.intersection(*(set(rank) for rank in ranks))
    if not shared:
        raise ReportError(_mixed(task, length, runs))
    return max(shared, key=lambda mark: (sum(rank[mark] for rank in ranks), str(mark)))


def _lines(each: Run, chosen: dict[tuple[str, int], str | None]) -> dict[int, dict[str, Any]]:
    found = {}
    for length, lines in each.measured.items():
        mark = chosen[str(each.info["task"]), length]
        found[length] = [line for line in lines if line.get("fingerprint") == mark][-1]
    return found


def _mixed(task: str, length: int, runs: list[Run]) -> str:
    sets: dict[str, list[Run]] = defaultdict(list)
    for each in runs:
        for line in each.measured[length]:
            sets[f"{line.get('fingerprint')} (n={line['n']}, eval_seed={line.get('eval_seed')})"].append(each)
    said = [f"{task} at length {length} was measured on different evaluation sets, which cannot be compared:"]
    said += [f"  set {name}: {_names(members)}" for name, members in sorted(sets.items(), key=lambda s: (-len(s[1]), s[0]))]
    where = " ".join(str(each.path) for each in runs) if len(runs) <= NAMED else "RUNS"
    return "\n".join([*said, f"measure them all on one set: rpe eval {where} --overwrite"])


def _other_code(runs: list[Run]) -> list[str]:
    """What says that some runs came from other code than the rest: another commit, or a recipe that is now another run."""
    measured = [each for each in runs if each.lines]
    commits = Counter(str(each.info["commit"])[:8] for each in measured if each.info.get("commit"))
    told = ", ".join(f"{mark} ({number})" for mark, number in sorted(commits.items()))
    problems = [f"trained by {len(commits)} commits of rpe: {told}: equal recipes may not mean equal training; train anew by one"]
    older = [each for each in measured if each.info.get("id", each.config.id) != each.config.id]
    more = f"made by a version of rpe in which their recipes were other runs than today: train anew: {_names(older)}"
    return (problems if len(commits) > 1 else []) + ([more] if older else [])


def versions(runs: list[Run]) -> set[str]:
    """The versions of the task's and the encoding's files that these runs were trained with."""
    marks = {tuple(sorted(each.info.get("sources", {}).items())) for each in runs if each.lines}
    return {str(mark) for mark in marks}


def _changed_files(runs: list[Run]) -> list[str]:
    """A warning for each encoding or task whose file changed between runs."""
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for each in runs:
        if each.lines:
            for kind, mark in each.info.get("sources", {}).items():
                name = each.info[kind.removesuffix("s")]
                seen[kind, parse_choice(str(name))[0]].add(str(mark))
    return [
        f"the file of {kind[:-1]} {name} changed between these runs ({', '.join(sorted(marks))}): train them all with one version"
        for (kind, name), marks in sorted(seen.items())
        if len(marks) > 1
    ]


def frame(runs: list[Run]) -> "pd.DataFrame":
    """One row per run and length, and one for each run that was never evaluated."""
    import pandas as pd

    rows = [_columns(each, line) for each in runs for line in (each.lines.values() or [{}])]
    made = pd.DataFrame(rows)
    return made.astype(dict.fromkeys(WHOLE, "Int64"))


def _columns(each: Run, line: dict[str, Any]) -> dict[str, Any]:
    info, config = each.info, each.config
    row = {"run": each.id, "task": info["task"], "encoding": info["encoding"], "positions": config.positions}
    row |= {"group": info["group"], "seed": config.seed, "status": info["status"], "training_length": config.length}
    length = line.get("length")
    row |= {"length": length, "factor": length / config.length if length else None, "sequence": line.get("sequence")}
    row["n"] = line.get("n")
    row |= {key: line.get(key) for key in LINE}
    row["low"], row["high"] = _interval(line)
    chance = line.get("chance")
    row["rescaled_accuracy"] = None if chance is None else stats.rescaled(line["token_accuracy"], chance)
    row["accuracy_by_decile"] = " ".join(map(str, line.get("accuracy_by_decile") or [])) or None
    row["weights"] = line.get("weights")
    curve = info.get("steps_to_accuracy") or {}
    row |= {key: curve.get(key) for key in CURVE}
    row |= {key: info.get(key) for key in RECORD} | {"steps": config.steps}
    row["batch_tokens"] = config.tokens  # the record's `tokens` counts all that was trained on
    return row | {key: value for key, value in each.settings.items() if key not in row}


def _interval(line: dict[str, Any]) -> tuple[float | None, float | None]:
    if not line:
        return None, None
    low, high = line.get("interval") or stats.wilson(round(line["exact_match"] * line["n"]), line["n"])
    return low, high


class ReportError(ValueError):
    """Nothing to report, or runs that must not be compared; says what to type."""


def first(each: Run, target: float) -> tuple[float | None, float | None]:
    """Steps and tokens of the first validation that reached the target, None for never."""
    found = next((line for line in each.validations if line["token_accuracy"] >= target), {})
    return found.get("step"), found.get("tokens")
