"""The sentences of a headline, each from the numbers alone."""

from collections.abc import Sequence
from typing import Literal

from rpecli.choice import canonical, data_in
from rpecli.report.aggregate import TaskResults
from rpecli.report.format import format_percent
from rpecli.report.headline_numbers import MARGIN, NEAR_CHANCE, EncodingPoint, GroupPoint, HeadlineNumbers, Point, Unsolved
from rpecli.table import plural

MAX_NAMES = 3  # in one sentence
GROUP_WORDS = {"RPE": "relative", "APE": "absolute", "content": "content-based", "none": "no encoding"}
TIMES = {2.0: "twice", 3.0: "three times", 4.0: "four times", 8.0: "eight times"}


def title(numbers: HeadlineNumbers, point: Point, reference: Point | None = None) -> str:
    """`Trained on lengths up to 16 and tested at 32, relative encodings still get 92 % of tokens right, absolute ones 55 %.`

    `reference` is what the shipped reference results say at the same lengths.
    """
    beside = f"; {_beside_reference(reference, numbers.compared)}" if reference else ""
    return f"{_setting(numbers, point)}, {_comparison(numbers, point)}{beside}."


def _setting(numbers: HeadlineNumbers, point: Point) -> str:
    training, tested = {task.train_length for task in numbers.tasks}, set(point.lengths.values())
    if len(training) == 1 and len(tested) == 1:
        return f"Trained on lengths up to {training.pop()} and tested at {tested.pop()}"
    return f"At {_times(point)} the training length"


def _times(point: Point) -> str:
    """`twice`, `1.5 times`, `2 to 4 times`."""
    low, high = min(point.factors), max(point.factors)
    return TIMES.get(low, f"{low:.3g} times") if low == high else f"{low:.3g} to {high:.3g} times"


def _comparison(numbers: HeadlineNumbers, point: Point) -> str:
    first, *others = _compared(numbers, point)
    still = "still " if point.above_chance(first.token_accuracy) >= 0.5 else ""
    right = f"{format_percent(first.token_accuracy)} of tokens right"
    if not others:
        return f"{_subject(first)} {still}{_verb(first)} {right}{_chance(point, first)}"
    (second,) = others
    if unlearned := [group for group in (first, second) if group.runs and not group.solved]:
        return _one_did_not_learn(unlearned[0], second if unlearned[0] is first else first)
    if not _is_tie(first, second):
        others_right = f"{_subject(second, again=True)} {format_percent(second.token_accuracy)}"
        return f"{_subject(first)} {still}{_verb(first)} {right}, {others_right}"
    both = f"{format_percent(first.token_accuracy)} and {format_percent(second.token_accuracy)} of tokens right"
    if max(map(point.above_chance, (first.token_accuracy, second.token_accuracy))) <= NEAR_CHANCE:
        return f"{_together(first, second, 'neither', 'nor')} do much better than chance ({format_percent(point.chance)}): {both}"
    return f"{_together(first, second)} do about equally well: {both}"


def _together(first: GroupPoint, second: GroupPoint, before: str = "", between: str = "and") -> str:
    """`relative and absolute encodings`, `neither RoPE (relative) nor Learned (absolute)`."""
    words = [_subject(first), _subject(second)]
    if len(first.encodings) > 1 and len(second.encodings) > 1:
        words[0] = GROUP_WORDS[first.group]
    return f"{before} {words[0]} {between} {words[1]}".strip()


def _compared(numbers: HeadlineNumbers, point: Point) -> list[GroupPoint]:
    """The compared groups at a point: the better one of the first point first, relative ones in a tie."""
    assert numbers.first
    at_first = {name: numbers.first.group(name) for name in numbers.compared}
    first, *others = [group for group in at_first.values() if group]
    ahead = bool(others) and others[0].token_accuracy > first.token_accuracy and not _is_tie(first, others[0])
    order = reversed(numbers.compared) if ahead else numbers.compared
    return [group for name in order if (group := point.group(name))]


def _is_tie(first: GroupPoint, second: GroupPoint) -> bool:
    return abs(first.token_accuracy - second.token_accuracy) <= MARGIN


def _one_did_not_learn(unlearned: GroupPoint, other: GroupPoint) -> str:
    word = GROUP_WORDS[unlearned.group]
    return (
        f"{_subject(other)} {_verb(other)} {format_percent(other.token_accuracy)} of tokens right; "
        f"no {word} encoding learned even the training length"
    )


def _subject(group: GroupPoint, again: bool = False) -> str:
    """`relative encodings`, `absolute ones`, or the name of the only encoding of a group."""
    word = GROUP_WORDS[group.group]
    if len(group.encodings) == 1:
        return f"{group.encodings[0]} ({word})"
    return f"{word} {'ones' if again else 'encodings'}"


def _verb(group: GroupPoint) -> str:
    return "gets" if len(group.encodings) == 1 else "get"


def _chance(point: Point, group: GroupPoint) -> str:
    return f" (chance {format_percent(point.chance)})" if point.above_chance(group.token_accuracy) <= NEAR_CHANCE else ""


def training_lengths(numbers: HeadlineNumbers) -> list[str]:
    """`Trained on lengths up to 32 on Sort, 128 on Copy and Parity.`, where they differ between tasks."""
    by_length: dict[int, list[str]] = {}
    for task in numbers.tasks:
        by_length.setdefault(task.train_length, []).append(task.short_title)
    if len(by_length) == 1:
        return []
    if len(by_length) > MAX_NAMES:
        return [f"Trained on lengths up to {min(by_length)} to {max(by_length)}, by task."]
    texts = [f"{length} on {_few(tasks)}" for length, tasks in sorted(by_length.items())]
    return [f"Trained on lengths up to {', '.join(texts)}."]


def whole_strings(numbers: HeadlineNumbers, point: Point) -> str:
    """`Whole strings right at 32: relative 31 %, absolute 0 %.`"""
    return f"Whole strings right {_where(point)}: {_values(numbers, point, 'exact_match')}."


def at_the_last_length(numbers: HeadlineNumbers, point: Point) -> str:
    """`Tokens right at 128 (8x): relative 55 %, absolute 30 %.`"""
    best = max(_compared(numbers, point), key=lambda group: group.token_accuracy)
    return f"Tokens right {_where(point, factor=True)}: {_values(numbers, point, 'token_accuracy')}{_chance(point, best)}."


def _where(point: Point, factor: bool = False) -> str:
    """`at 32`, `at 128 (8x)`, `at 2x`, `at 2x to 32x`."""
    lengths, factors = set(point.lengths.values()), sorted(set(point.factors))
    text = f"{factors[0]:.3g}x" if len(factors) == 1 else f"{factors[0]:.3g}x to {factors[-1]:.3g}x"
    if len(lengths) == 1 and len(factors) == 1:
        return f"at {lengths.pop()}" + (f" ({text})" if factor else "")
    return f"at {text}"


def _values(numbers: HeadlineNumbers, point: Point, measure: Literal["token_accuracy", "exact_match"]) -> str:
    """`relative 31 %, absolute 0 %`, or the number of the only group."""
    groups = _compared(numbers, point)
    if len(groups) == 1:
        return format_percent(getattr(groups[0], measure))
    return ", ".join(f"{GROUP_WORDS[group.group]} {format_percent(getattr(group, measure))}" for group in groups)


def encodings(numbers: HeadlineNumbers) -> list[str]:
    """Which encodings hold longest, and which relative ones do not."""
    point = numbers.farthest
    if point is None or len(point.encodings) < 3:
        return []
    ordered = point.encodings
    best, worst = ordered[0].token_accuracy, ordered[-1].token_accuracy
    if point.above_chance(best) <= NEAR_CHANCE:
        return []
    if best - worst <= MARGIN:
        return [f"All encodings are within {round(100 * MARGIN)} points of each other {_where(point)}."]
    lasting = [one for one in ordered if one.token_accuracy >= (best + worst) / 2]
    verb = "holds" if len(lasting) == 1 else "hold"
    where = f" (tokens right {_where(point)})" if numbers.last and point is numbers.first else ""
    return [f"{_names_with_values(lasting)} {verb} longest{where}.", *_relative_that_fail(point, lasting)]


def _relative_that_fail(point: Point, lasting: Sequence[EncodingPoint]) -> list[str]:
    """Relative encodings that are no better than the best absolute one."""
    absolute = point.of_group("APE")
    relative = [one for one in point.of_group("RPE") if one not in lasting]
    if not absolute:
        verb = "falls" if len(relative) == 1 else "fall"
        return [f"{_names_with_values(relative)} {verb} behind, although relative."] if relative else []
    failing = [one for one in relative if one.token_accuracy <= absolute[0].token_accuracy + MARGIN]
    if not failing:
        return []
    beside = f"{absolute[0].encoding} (absolute, {format_percent(absolute[0].token_accuracy)})"
    if len(failing) == len(point.of_group("RPE")) > 1:
        return [f"No relative encoding does better there than {beside}."]
    verb = "does" if len(failing) == 1 else "do"
    return [f"{_names_with_values(failing)} {verb} no better there than {beside}."]


def without_encoding(numbers: HeadlineNumbers) -> list[str]:
    """The tasks on which no encoding at all does as well as the best."""
    point = numbers.farthest
    nope = point.group("none") if point else None
    if point is None or nope is None or numbers.compared == ["none"]:
        return []
    equal = [one for one in point.nope if one.is_as_good]
    if not equal:
        return [f"Without any encoding (NoPE): {format_percent(nope.token_accuracy)} there."]
    values = [
        f"{format_percent(one.token_accuracy)} ({one.best_encoding} {format_percent(one.best_token_accuracy)})" for one in equal
    ]
    tasks = _few([one.task for one in equal])
    best = all(one.token_accuracy >= one.best_token_accuracy for one in equal)
    verb = "does at least as well as any" if best else f"is within {round(100 * MARGIN)} points of the best"
    return [f"No encoding at all (NoPE) {verb} on {tasks}: {_few(values)}."]


def _beside_reference(reference: Point, own: Sequence[str]) -> str:
    """`reference: other relative encodings 90 %, absolute ones 45 %`: those that the runs have themselves are left out."""
    groups = [group for name in ("RPE", "APE") if (group := reference.group(name))]
    others = ["other " if group.group in own and len(group.encodings) > 1 else "" for group in groups]
    texts = [
        f"{other}{_subject(group, again=bool(number))} {format_percent(group.token_accuracy)}"
        for number, (other, group) in enumerate(zip(others, groups, strict=True))
    ]
    return f"reference: {', '.join(texts)}"


def best_of_reference(reference: Point) -> str:
    """The encoding with the highest token accuracy among the shipped reference results."""
    best = reference.encodings[0]
    return f"Best of the reference {_where(reference)}: {best.encoding} ({format_percent(best.token_accuracy)})."


def not_in_the_numbers(numbers: HeadlineNumbers) -> list[str]:
    """The tasks that no number is of, and why."""
    lines = []
    if numbers.left_out:
        lines.append(f"No run learned {_few([_with_length(task) for task in numbers.left_out])}: not in these numbers.")
    if numbers.other:
        lacking = _few([task.short_title for task in numbers.other])
        lines.append(f"{lacking}: not in these numbers, for lack of runs to compare or of a length beyond training.")
    return lines


def _with_length(task: TaskResults) -> str:
    return f"{task.short_title} (trained to {task.train_length})"


def not_learned(numbers: HeadlineNumbers) -> list[str]:
    """The encodings of which not every run learned the training length, the worst first."""
    by_encoding: dict[str, list[Unsolved]] = {}
    for one in numbers.unsolved:
        by_encoding.setdefault(one.encoding, []).append(one)
    texts = [text for _, text in sorted(_unsolved_share(name, entries) for name, entries in by_encoding.items())]
    more = f"; and {len(texts) - MAX_NAMES} more" if len(texts) > MAX_NAMES else ""
    return [f"Training length not learned by every run: {'; '.join(texts[:MAX_NAMES])}{more}."] if texts else []


def _unsolved_share(name: str, entries: list[Unsolved]) -> tuple[float, str]:
    """The share of runs that learned, and `NoPE on Copy and Parity (by 1 of 6 runs)`."""
    solved, runs = sum(one.solved for one in entries), sum(one.runs for one in entries)
    return solved / runs, f"{name} on {_few([one.task for one in entries])} (by {solved} of {plural(runs, 'run')})"


def without_a_length(numbers: HeadlineNumbers) -> list[str]:
    """Title and detail where there is nothing to say about longer lengths."""
    tasks = numbers.other or numbers.left_out
    lengths = _list([str(length) for length in sorted({task.train_length for task in tasks})])
    if numbers.other:
        left_out = [f"No run learned {_few([_with_length(task) for task in numbers.left_out])}."] if numbers.left_out else []
        return [f"Trained on lengths up to {lengths}; no longer length is tested for all runs.", "To test longer ones: rpe eval.",
                *left_out, *not_learned(numbers)]  # fmt: skip
    best = [f"At the training length of {task.short_title}, {text}." for task in tasks if (text := _best(task))][:MAX_NAMES]
    return [f"No run learned its training length ({lengths}), so these results say nothing about longer ones.", *best]


def _best(task: TaskResults) -> str | None:
    """`RoPE gets most tokens right, 60 %`, at the training length."""
    n = task.train_length
    means = [(one.by_length[n]["token_accuracy"].mean, one.short_title) for one in task.encodings if n in one.by_length]
    if not means:
        return None
    most = max(accuracy for accuracy, _ in means)
    names = [name for accuracy, name in means if accuracy == most]
    who = _list(names) if len(names) <= MAX_NAMES else f"{len(names)} encodings"
    return f"{who} {'gets' if len(names) == 1 else 'get'} the most tokens right: {format_percent(most)}"


def caveats(tasks: list[TaskResults]) -> str:
    """What limits every number: the seeds, and the size of the models."""
    encodings = [encoding for task in tasks for encoding in task.encodings if encoding.evaluated_runs]
    counts = sorted({len(encoding.evaluated_runs) for encoding in encodings})
    parameters = [run.record.get("parameters") or 0 for encoding in encodings for run in encoding.evaluated_runs]
    seeds = " to ".join(str(count) for count in (counts[0], counts[-1])[: len(counts)]) if counts else "0"
    models = f"models of up to {_millions(max(parameters))} parameters" if any(parameters) else "small models"
    synthetic = "" if any(reads_data(task) for task in tasks) else ", synthetic tasks"
    return f"{seeds} {'seed' if counts == [1] else 'seeds'} per encoding, {models}{synthetic}."


def reads_data(task: TaskResults) -> bool:
    """Whether the problems of a task are read, from the user's own rows or from text, and not drawn."""
    return bool(data_in(canonical(task.encodings[0].runs[0].config.task)))


def _millions(count: int) -> str:
    return f"{count / 1e6:.2g} million"


def _names_with_values(points: Sequence[EncodingPoint]) -> str:
    return _few([f"{one.encoding} ({format_percent(one.token_accuracy)})" for one in points])


def _few(texts: Sequence[str]) -> str:
    """`a, b, c and 2 more`."""
    more = len(texts) - MAX_NAMES
    return _list([*texts[:MAX_NAMES], *([f"{more} more"] if more > 0 else [])])


def _list(texts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
