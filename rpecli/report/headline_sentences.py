"""The sentences of a headline, each from the numbers alone."""

from collections.abc import Sequence

from rpecli.choice import canonical, data_in
from rpecli.report.aggregate import TaskResults, by_scoring
from rpecli.report.headline_numbers import (
    NEAR_CHANCE,
    EncodingPoint,
    GroupPoint,
    HeadlineNumbers,
    PartOfReference,
    Point,
    Unsolved,
)
from rpecli.report.measures import Measure
from rpecli.table import factor_text, multiple, plural

MAX_NAMES = 3  # in one sentence
GROUP_WORDS = {"RPE": "relative", "APE": "absolute", "content": "content-based", "none": "no encoding"}
TIMES = {2.0: "twice", 3.0: "three times", 4.0: "four times", 8.0: "eight times"}


def title(numbers: HeadlineNumbers, point: Point, reference: Point | None = None, parts: Sequence[PartOfReference] = ()) -> str:
    """`Trained on lengths up to 16 and tested at 32, relative encodings still get 92 % of tokens right, absolute ones 55 %.`

    `reference` is what the shipped reference results say at the same lengths, `parts` what they say on some of the tasks.
    """
    beside = f"; {_beside_reference(reference, numbers.compared, parts)}" if reference else ""
    return f"{_setting(numbers, point)}, {_comparison(numbers, point)}{beside}."


def _setting(numbers: HeadlineNumbers, point: Point) -> str:
    training, tested = {task.train_length for task in numbers.tasks}, set(point.lengths.values())
    if len(training) == 1 and len(tested) == 1:
        return f"Trained on lengths up to {training.pop()} and tested at {tested.pop()}"
    return f"At {_times(point)} the training length"


def _times(point: Point) -> str:
    """`twice`, `1.5 times`, `2 to 4 times`."""
    low, high = min(point.factors), max(point.factors)
    return TIMES.get(low, f"{factor_text(low)} times") if low == high else f"{factor_text(low)} to {factor_text(high)} times"


def _comparison(numbers: HeadlineNumbers, point: Point) -> str:
    first, *others = _compared(numbers, point)
    if not others:
        return f"{_subject(first)} {_does(point, first)}{_chance(point, first)}"
    return _of_two(point, first, others[0]) + _unlearned(first, others[0])


def _does(point: Point, group: GroupPoint) -> str:
    """`still get 92 % of tokens right`."""
    still = "still " if point.above_chance(group.score) >= 0.5 else ""
    return f"{still}{_verb(point, group)} {point.scoring.value.format(point.write(group.score))}"


def _of_two(point: Point, first: GroupPoint, second: GroupPoint) -> str:
    if not point.is_tie(first.score, second.score):
        return f"{_subject(first)} {_does(point, first)}, {_subject(second, again=True)} {point.write(second.score)}"
    both = point.scoring.value.format(f"{point.write(first.score)} and {point.write(second.score)}")
    if max(map(point.above_chance, (first.score, second.score))) <= NEAR_CHANCE:
        neither = f"{_together(first, second, 'neither', 'nor')} {'does' if len(second.encodings) == 1 else 'do'}"
        return f"{neither} much better than chance ({point.write(point.chance)}): {both}"
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
    ahead = bool(others) and others[0].score > first.score and not numbers.first.is_tie(first.score, others[0].score)
    order = reversed(numbers.compared) if ahead else numbers.compared
    return [group for name in order if (group := point.group(name))]


def _unlearned(*groups: GroupPoint) -> str:
    """`; no relative encoding learned even the training length`, of a group without a run that did."""
    unlearned = [group for group in groups if group.runs and not group.solved]
    return "".join(f"; no {GROUP_WORDS[group.group]} encoding learned even the training length" for group in unlearned)


def _subject(group: GroupPoint, again: bool = False) -> str:
    """`relative encodings`, `absolute ones`, or the name of the only encoding of a group."""
    word = GROUP_WORDS[group.group]
    if len(group.encodings) == 1:
        return f"{group.encodings[0]} ({word})"
    return f"{word} {'ones' if again else 'encodings'}"


def _verb(point: Point, group: GroupPoint) -> str:
    return point.scoring.verbs[len(group.encodings) > 1]


def _chance(point: Point, group: GroupPoint) -> str:
    return f" (chance {point.write(point.chance)})" if point.above_chance(group.score) <= NEAR_CHANCE else ""


def training_lengths(numbers: HeadlineNumbers) -> list[str]:
    """`Trained on lengths up to 32 on Sort, 128 on Copy and Parity.`, where tasks differ; tables say more of them."""
    by_length: dict[int, list[str]] = {}
    for task in numbers.tasks:
        by_length.setdefault(task.train_length, []).append(task.short_title)
    if not 1 < len(by_length) <= MAX_NAMES:
        return []
    texts = [f"{length} on {_few(tasks)}" for length, tasks in sorted(by_length.items())]
    return [f"Trained on lengths up to {', '.join(texts)}."]


def aside(numbers: HeadlineNumbers, point: Point) -> str:
    """`Whole strings right at 32: relative 31 %, absolute 0 %.`, `Bits per token at 128: ...`."""
    measure = point.scoring.aside
    return f"{measure.title} {_where(point)}: {_values(numbers, point, measure)}."


def at_the_last_length(numbers: HeadlineNumbers, point: Point) -> str:
    """`Tokens right at 128 (8x): relative 55 %, absolute 30 %.`"""
    best, measure = max(_compared(numbers, point), key=lambda group: group.score), point.scoring.shown
    return f"{measure.title} {_where(point, factor=True)}: {_values(numbers, point, measure)}{_chance(point, best)}."


def _where(point: Point, factor: bool = False) -> str:
    """`at 32`, `at 128 (8x)`, `at 2x`, `at 2x to 32x`."""
    lengths, factors = set(point.lengths.values()), sorted(set(point.factors))
    text = multiple(factors[0]) if len(factors) == 1 else f"{multiple(factors[0])} to {multiple(factors[-1])}"
    if len(lengths) == 1 and len(factors) == 1:
        return f"at {lengths.pop()}" + (f" ({text})" if factor else "")
    return f"at {text}"


def _values(numbers: HeadlineNumbers, point: Point, measure: Measure) -> str:
    """`relative 31 %, absolute 0 %`, or the number of the only group."""
    groups = _compared(numbers, point)
    if len(groups) == 1:
        return measure.write(getattr(groups[0], measure.key))
    return ", ".join(f"{GROUP_WORDS[group.group]} {measure.write(getattr(group, measure.key))}" for group in groups)


def encodings(numbers: HeadlineNumbers) -> list[str]:
    """Which encodings hold longest, and which relative ones do not."""
    point = numbers.farthest
    if point is None or len(point.encodings) < 3:
        return []
    ordered = point.encodings
    best, worst = ordered[0].score, ordered[-1].score
    if point.above_chance(best) <= NEAR_CHANCE:
        return []
    if point.is_tie(best, worst):
        return [f"All encodings are within {point.scoring.shown.margin_words} of each other {_where(point)}."]
    lasting = [one for one in ordered if one.score >= (best + worst) / 2]
    verb = "holds" if len(lasting) == 1 else "hold"
    where = f" ({point.scoring.shown.title.lower()} {_where(point)})" if numbers.last and point is numbers.first else ""
    return [f"{_names_with_values(point, lasting)} {verb} longest{where}.", *_relative_that_fail(point, lasting)]


def _relative_that_fail(point: Point, lasting: Sequence[EncodingPoint]) -> list[str]:
    """Relative encodings that are no better than the best absolute one."""
    absolute = point.of_group("APE")
    relative = [one for one in point.of_group("RPE") if one not in lasting]
    if not absolute:
        verb = "falls" if len(relative) == 1 else "fall"
        return [f"{_names_with_values(point, relative)} {verb} behind, although relative."] if relative else []
    failing = [one for one in relative if one.score <= absolute[0].score + point.scoring.shown.margin]
    if not failing:
        return []
    beside = f"{absolute[0].encoding} (absolute, {point.write(absolute[0].score)})"
    if len(failing) == len(point.of_group("RPE")) > 1:
        return [f"No relative encoding does better there than {beside}."]
    verb = "does" if len(failing) == 1 else "do"
    return [f"{_names_with_values(point, failing)} {verb} no better there than {beside}."]


def without_encoding(numbers: HeadlineNumbers) -> list[str]:
    """The tasks on which no encoding at all does as well as the best."""
    point = numbers.farthest
    nope = point.group("none") if point else None
    if point is None or nope is None or numbers.compared == ["none"]:
        return []
    shown = point.scoring.shown
    equal = [one for one in point.nope if one.is_as_good(shown.margin)]
    if not equal:
        return [f"Without any encoding (NoPE): {point.write(nope.score)} {_where(point)}."]
    values = [f"{point.write(one.score)} ({one.best_encoding} {point.write(one.best_score)})" for one in equal]
    tasks = _few([one.task for one in equal])
    best = all(one.score >= one.best_score for one in equal)
    verb = "does at least as well as any" if best else f"is within {shown.margin_words} of the best"
    return [f"No encoding at all (NoPE) {verb} on {tasks} {_where(point)}: {_few(values)}."]


def _beside_reference(reference: Point, own: Sequence[str], parts: Sequence[PartOfReference]) -> str:
    """`reference: other relative encodings 90 %, absolute ones 45 %`: those that the runs have themselves are left out."""
    shares = {part.group.group: f" on {len(part.own.lengths)} of {len(reference.lengths)} tasks" for part in parts}
    of_group = {group.group: group for group in (*reference.groups, *(part.group for part in parts))}
    groups = [of_group[name] for name in ("RPE", "APE") if name in of_group]
    others = ["other " if group.group in own and len(group.encodings) > 1 else "" for group in groups]
    texts = [
        f"{other}{_subject(group, again=bool(number))} {reference.write(group.score)}{shares.get(group.group, '')}"
        for number, (other, group) in enumerate(zip(others, groups, strict=True))
    ]
    return f"reference: {', '.join(texts)}"


def part_of_reference(numbers: HeadlineNumbers, part: PartOfReference) -> str:
    """`No absolute encoding of the reference learned Recall; on Copy and Sort: absolute 48 %, RoPE (relative) 72 %.`"""
    word, (own, *_) = GROUP_WORDS[part.group.group], _compared(numbers, part.own)
    tasks = [task.short_title for task in numbers.tasks if task.title in part.own.lengths]
    values = f"{word} {part.own.write(part.group.score)}, {_subject(own)} {part.own.write(own.score)}"
    return f"No {word} encoding of the reference learned {_few(part.lacking)}; on {_few(tasks)}: {values}."


def best_of_reference(reference: Point) -> str:
    """The encoding with the highest score among the shipped reference results."""
    best = reference.encodings[0]
    return f"Best of the reference {_where(reference)}: {best.encoding} ({reference.write(best.score)})."


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
    return [f"No run learned its training length ({lengths}), so these results say nothing about longer ones.", *best,
            "To learn it: more steps (--steps), another learning rate (--lr-search) or shorter strings (--length)."]  # fmt: skip


def _best(task: TaskResults) -> str | None:
    """`RoPE gets the most tokens right: 60 %`, at the training length."""
    n, scoring = task.train_length, task.scoring
    key, sign = scoring.shown.key, scoring.shown.sign
    scores = [(sign * one.by_length[n][key].mean, one.short_title) for one in task.encodings if key in one.by_length.get(n, {})]
    if not scores:
        return None
    most = max(score for score, _ in scores)
    names = [name for score, name in scores if score == most]
    who = _list(names) if len(names) <= MAX_NAMES else f"{len(names)} encodings"
    return f"{who} {scoring.verbs[len(names) > 1]} {scoring.best}: {scoring.shown.write_score(most)}"


def caveats(tasks: list[TaskResults]) -> str:
    """What limits every number: the seeds, and the size of the models."""
    encodings = [encoding for task in tasks for encoding in task.encodings if encoding.evaluated_runs]
    counts = sorted({len(encoding.evaluated_runs) for encoding in encodings})
    parameters = [run.record.get("parameters") or 0 for encoding in encodings for run in encoding.evaluated_runs]
    seeds = " to ".join(str(count) for count in (counts[0], counts[-1])[: len(counts)]) if counts else "0"
    models = f"models of up to {_millions(max(parameters))} parameters" if any(parameters) else "small models"
    kinds = "" if any(map(reads_data, tasks)) else f", {' and '.join(scoring.tasks for scoring, _ in by_scoring(tasks))}"
    return f"{seeds} {'seed' if counts == [1] else 'seeds'} per encoding, {models}{kinds}."


def reads_data(task: TaskResults) -> bool:
    """Whether the problems of a task are read, from the user's own rows or from text, and not drawn."""
    return bool(data_in(canonical(task.encodings[0].runs[0].config.task)))


def _millions(count: int) -> str:
    return f"{count / 1e6:.2g} million"


def _names_with_values(point: Point, encodings: Sequence[EncodingPoint]) -> str:
    return _few([f"{one.encoding} ({point.write(one.score)})" for one in encodings])


def _few(texts: Sequence[str]) -> str:
    """`a, b, c and 2 more`."""
    more = len(texts) - MAX_NAMES
    return _list([*texts[:MAX_NAMES], *([f"{more} more"] if more > 0 else [])])


def _list(texts: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
