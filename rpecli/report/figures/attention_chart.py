"""What `rpe inspect` found, as charts of report.html: against length, by distance and head, by term, by encoding, and moved."""

import math
from collections.abc import Callable
from html import escape
from typing import Any

from rpecli.plot import Look
from rpecli.report import probe_values, stats
from rpecli.report.aggregate import TaskResults
from rpecli.report.figures import inline as svg
from rpecli.report.figures.accuracy import looks
from rpecli.report.format import format_number
from rpecli.report.load_probes import TaskProbes
from rpecli.report.probe_values import shift_value, similarity_matrix
from rpecli.report.tables.invariance import KINDS, Shifts

AGAINST: list[tuple[str, Callable[[TaskProbes, str, float], list[float]]]] = [
    ("mean distance attended to", lambda seen, label, times: probe_values.head_means(seen, label, times, "distance")),
    ("entropy of attention, nats", lambda seen, label, times: probe_values.head_means(seen, label, times, "entropy")),
    ("share of the mean score that is a function of i-j", probe_values.distance_r2),
    ("what heads that look by a rule keep there", probe_values.pattern_shares),
]
MOVED = {
    "changed": "predictions changed",
    "exact_match": "exact match",
    "attention": "attention that went elsewhere, mean of layers",
    "kl_mean": "KL divergence of predictions, nats",
    "logits_mean": "mean change of a logit",
}
CELL, FITS = 40, 24  # the side of a matrix's cell at most, and from which on a number fits in
POINTS = 200  # of a curve by distance: of more, the highest of each few neighbours
SHADES = (0.15, 0.4, 0.65, 1.0)  # of the four terms


class Axes(svg.Frame):
    """Values on either axis that are no accuracies: the horizontal one logarithmic or not, the vertical one up to `top`."""

    def __init__(self, marks: dict[float, tuple[str, str]], top: float, linear: bool = False) -> None:
        self.marks, self.top, self.linear = marks, top, linear
        first, last = (self._scaled(value) for value in (min(marks), max(marks)))
        self.first, self.span = first, (last - first) or 1.0

    def _scaled(self, value: float) -> float:
        return value if self.linear else math.log2(value)

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * (self._scaled(value) - self.first) / self.span

    def y(self, value: float) -> float:
        return super().y(value / self.top)

    def levels(self) -> list[tuple[float, str]]:
        return [(self.top * step / 4, f"{self.top * step / 4:.3g}") for step in range(5)]

    def labels(self) -> list[tuple[float, str, str]]:
        return [(self.x(value), *words) for value, words in self.marks.items()]


def sections(
    panels: list[TaskResults], looked: dict[str, TaskProbes], moved: dict[str, dict[str, dict[int, Shifts]]]
) -> dict[str, str]:
    """Of each panel's title, what to show under its tables."""
    known, made = looks([panel for panel in panels if panel.lengths]), {}
    for panel in panels:
        parts = []
        if panel.title in looked:
            parts += ["<h3>Where and why heads look</h3>", charts(looked[panel.title], known)]
        if panel.title in moved:
            parts += ["<h3>The same content elsewhere</h3>", shifted(panel, moved[panel.title], known)]
        made[panel.title] = "".join(parts)
    return made


def charts(seen: TaskProbes, known: dict[str, Look]) -> str:
    """The figures of a panel that was looked into."""
    made = [_against(seen, known, *what) for what in AGAINST]
    made += [_distances(seen, known, times) for times in seen.factors]
    made += [_terms(seen), _alike(seen)]
    shown = "".join(f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>" for title, drawn in made if drawn)
    heads = "".join(_heads(seen, known, label) for label in seen.labels)
    folded = f'<details><summary>Each head of each encoding, one run of each</summary><div class="charts">{heads}</div></details>'
    return f'{svg.legend(known)}<div class="charts">{shown}</div>{folded}'


def shifted(panel: TaskResults, rows: dict[str, dict[int, Shifts]], known: dict[str, Look]) -> str:
    """What a shift changes: predictions first, the rest folded."""
    parts = {measure: "".join(_shift(panel, rows, known, measure, kind) for kind in KINDS) for measure in MOVED}
    shown, *rest = (f'<div class="charts">{part}</div>' for part in parts.values())
    folded = f"<details><summary>Accuracy, attention, KL divergence and logits</summary>{''.join(rest)}</details>"
    return svg.legend(known) + shown + folded if parts["changed"] else ""


def _shift(panel: TaskResults, rows: dict[str, dict[int, Shifts]], known: dict[str, Look], measure: str, kind: str) -> str:
    """One measure by one kind of shift."""
    shifts = sorted({by for seeds in rows.values() for each in seeds.values() for name, by in each if name == kind})
    found = {label: {by: [shift_value(each[kind, by], measure) for each in seeds.values() if measure in each.get((kind, by), ())]
                     for by in shifts} for label, seeds in rows.items()}  # fmt: skip
    every = [value for each in found.values() for values in each.values() for value in values]
    if not every:
        return ""
    axes = Axes({by: (f"+{by}", "") for by in shifts}, _above(max(every)) if measure.endswith("_mean") else 1)
    title = f"{MOVED[measure]}, {KINDS[kind]}"
    drawn = _picture(panel, title, found, _lines(axes, found, known, "moved by {:g}"), "+{:g}")
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>"


# ---------------------------------------------------------------------------------------------------------- against length


def _against(
    seen: TaskProbes, known: dict[str, Look], title: str, measure: Callable[[TaskProbes, str, float], list[float]]
) -> tuple[str, str]:
    trained = seen.task.train_length
    values = {label: {times * trained: measure(seen, label, times) for times in seen.factors} for label in seen.labels}
    every = [value for found in values.values() for each in found.values() for value in each]
    if not every:
        return title, ""
    marks = {times * trained: (f"{times * trained:g}", f"{times:g}x") for times in seen.factors}
    axes = Axes(marks, 1.0 if "share" in title or "rule" in title else _above(max(every)))
    return title, _picture(seen.task, f"{title} against length", values, _lines(axes, values, known, "at {:g}"), "at {:g}")


def _above(value: float) -> float:
    """A round number above."""
    unit = 10 ** math.floor(math.log10(value or 1))
    return next(unit * step for step in (1, 2, 4, 6, 8, 10) if unit * step >= value)


Values = dict[str, dict[float, list[float]]]  # of a label, at a place, over seeds


def _lines(axes: Axes, values: Any, known: dict[str, Look], where: str) -> str:
    parts = [svg.frame(axes)]
    for place, (label, look) in enumerate(known.items()):
        found = {x: made for x, each in values.get(label, {}).items() if (made := stats.summary(each))}
        points = [(x, made, f"{where.format(x)}: {made.mean:.3g}, {made.n} run{'s' * (made.n > 1)}") for x, made in found.items()]
        parts.append(svg.series(axes, label, points, look, place) if points else "")
    return "".join(parts)


def _picture(panel: TaskResults, title: str, values: Any, drawn: str, where: str) -> str:
    ends = {label: [x for x, each in found.items() if each] for label, found in values.items()}
    said = [
        f"{label} "
        + ", ".join(f"{sum(values[label][x]) / len(values[label][x]):.3g} {where.format(x)}" for x in {xs[0]: 0, xs[-1]: 0})
        for label, xs in ends.items()
        if xs
    ]
    return svg.picture(escape(f"{title} on {panel.title}, mean over seeds: {'; '.join(said)}."), drawn)


# ------------------------------------------------------------------------------------------------------------ by distance


def _distances(seen: TaskProbes, known: dict[str, Look], times: float) -> tuple[str, str]:
    """Attention by distance, mean over the last layer's heads and over seeds."""
    title = f"attention by distance i-j, last layer, at {times:g}x"
    found = {
        label: [_mean_line(line["layers"][-1]) for _, line in probe_values.lines_at(seen, label, times)] for label in seen.labels
    }
    lines = {label: [sum(column) / len(runs) for column in zip(*runs, strict=True)] for label, runs in found.items() if runs}
    if not lines:
        return title, ""
    some = seen.runs[0]
    least = 0 if some["causal"] else -(max(map(len, lines.values())) // 2)
    axes = _distance_axes(least, max(map(len, lines.values())), max(max(line) for line in lines.values()))
    parts = [svg.frame(axes)]
    for place, (label, look) in enumerate(known.items()):
        if label in lines:
            parts.append(_curve(axes, lines[label], least, place, look, label, label))
    peaks = {label: line.index(max(line)) + least for label, line in lines.items()}
    said = "; ".join(f"{label} most at {peak}, {format_number(max(lines[label]))}" for label, peak in peaks.items())
    return title, svg.picture(escape(f"{title} on {seen.task.title}, mean over heads and seeds: {said}."), "".join(parts))


def _mean_line(heads: list[dict[str, Any]]) -> list[float]:
    return [sum(column) / len(heads) for column in zip(*(head["by_distance"] for head in heads), strict=True)]


def _distance_axes(least: int, number_of: int, most: float) -> Axes:
    last = least + number_of - 1
    step = 2 ** max(0, math.floor(math.log2(max(1, last - least) / 3)))
    marks = {least: "", last: ""} | {mark: str(mark) for mark in range(-(-least // step) * step, last + 1, step)}
    return Axes({mark: (word, "") for mark, word in marks.items()}, min(1.0, _above(most)), linear=True)


def _curve(
    axes: Axes, line: list[float], least: int, place: int, look: Look, label: str, words: str, dash: str | None = None
) -> str:
    every = -(-len(line) // POINTS)
    peaks = [max(range(d, min(d + every, len(line))), key=line.__getitem__) for d in range(0, len(line), every)]
    path = "M" + "L".join(f"{axes.x(least + d):.1f} {axes.y(line[d]):.1f}" for d in peaks)
    dashed = dash if dash is not None else svg.DASH[look.group]
    style = f' stroke-dasharray="{dashed}"' if dashed else ""
    drawn = f'<path class="line" stroke="var(--k{place})"{style} d="{path}"><title>{escape(words)}</title></path>'
    return f'<g class="series" data-k="{escape(label)}">{drawn}</g>'


def _heads(seen: TaskProbes, known: dict[str, Look], label: str) -> str:
    """Every head of one run of an encoding, at the training length and at the longest: a chart a layer and length."""
    each, place = seen.runs_of(label)[0], list(known).index(label)
    made = []
    for times in dict.fromkeys((seen.factors[0], seen.factors[-1])):
        line = probe_values.line_at(each, times)
        for layer, heads in enumerate(line["layers"] if line else []):
            least = 0 if each["causal"] else 1 - line["sequence"] if line else 0
            axes = _distance_axes(least, len(heads[0]["by_distance"]), 1.0)
            rules = {head["head"]: head["rule"] for head in each["patterned_heads"] if head["layer"] == layer + 1}
            curves = [_curve(axes, head["by_distance"], least, place, known[label], label, f"head {n}{_rule(rules, n)}",
                             ("", "6 3", "1.5 2.5", "8 2.5 2 2.5")[(n - 1) % 4]) for n, head in enumerate(heads, 1)]  # fmt: skip
            said = "; ".join(f"head {n}: {rule}" for n, rule in rules.items()) or "no head by a rule"
            title = f"{label}, seed {each['seed']}, layer {layer + 1} at {times:g}x: {said}"
            words = escape(f"attention by distance of each head: {title}")
            drawn = svg.picture(words, svg.frame(axes) + "".join(curves))
            made.append(f"<figure><figcaption>{escape(title)}</figcaption>{drawn}</figure>")
    return "".join(made)


def _rule(rules: dict[int, str], head: int) -> str:
    return f": {rules[head]}" if head in rules else ""


# ---------------------------------------------------------------------------------------------------------- terms, alike


def _terms(seen: TaskProbes) -> tuple[str, str]:
    """A bar for each encoding and length, its four terms side by side, darker from content to position."""
    title = f"score terms of the first layer, from pale to full: {', '.join(probe_values.TERMS)}"
    bars = [
        (label, times, heads)
        for label in seen.labels
        for times in seen.factors
        if (heads := probe_values.term_heads(seen, label, times))
    ]
    if not bars:
        return title, ""
    left, high, parts, said = 130.0, svg.HIGH / max(len(bars), 6), [], []
    for n, (label, times, heads) in enumerate(bars):
        shares = [sum(head["share"][name] for head in heads) / len(heads) for name in probe_values.TERMS]
        x, y = left, n * high + 4
        parts.append(f'<text x="{left - 6}" y="{y + high / 2 + 3:.1f}" text-anchor="end">{escape(label)} {times:g}x</text>')
        for share, shade, name in zip(shares, SHADES, probe_values.TERMS, strict=True):
            wide = share * (svg.WIDE - left - svg.RIGHT)
            tip = f"<title>{escape(f'{label} at {times:g}x: {name} {format_number(share)}')}</title>"
            parts.append(f'<g class="point"><path class="bar" style="fill-opacity:{shade}" '
                         f'd="M{x:.1f} {y:.1f}h{wide:.1f}v{high - 6:.1f}h{-wide:.1f}z"/>{tip}</g>')  # fmt: skip
            x += wide
        said.append(f"{label} at {times:g}x {', '.join(map(format_number, shares))}")
    return title, svg.picture(escape(f"{title} on {seen.task.title}, shares of variance: {'; '.join(said)}."), "".join(parts))


def _alike(seen: TaskProbes) -> tuple[str, str]:
    """Encodings against encodings: the fuller the colour, the more alike."""
    title = "how alike encodings attend (1 - JS/ln 2); with itself: its seeds"
    cells = similarity_matrix(seen.pairs, lambda pair: pair["labels"])
    labels = [label for label in seen.labels if any(label in key for key in cells)]
    if not labels:
        return title, ""
    left, step = 130.0, min(CELL, (svg.WIDE - 130) / len(labels), (svg.HIGH - 24) / len(labels))
    parts = []
    for i, a in enumerate(labels):
        parts.append(f'<text x="{left - 6}" y="{(i + 0.5) * step + 4:.1f}" text-anchor="end">{escape(a)} {i + 1}</text>')
        parts.append(
            f'<text x="{left + (i + 0.5) * step:.1f}" y="{len(labels) * step + 14:.1f}" text-anchor="middle">{i + 1}</text>'
        )
        for j, b in enumerate(labels):
            value = cells.get((a, b))
            if value is not None:
                path = f"M{left + j * step:.1f} {i * step:.1f}h{step - 1:.1f}v{step - 1:.1f}h{1 - step:.1f}z"
                tip = f"<title>{escape(f'{a} and {b}: {format_number(value)}')}</title>"
                shown = f'<path class="bar" style="fill-opacity:{0.45 * value:.2f}" d="{path}"/>'
                at = f'x="{left + (j + 0.5) * step:.1f}" y="{(i + 0.5) * step + 4:.1f}"'
                word = f'<text class="in" {at}>{format_number(value)}</text>'
                parts.append(f'<g class="point">{shown}{word if step >= FITS else ""}{tip}</g>')
    rest = [(value, key) for key, value in cells.items() if key[0] != key[1]]
    said = ", ".join(f"{word} {a} and {b} ({format_number(value)})" for word, (value, (a, b)) in
                     (("most", max(rest)), ("least", min(rest)))) if rest else ""  # fmt: skip
    return title, svg.picture(escape(f"{title} on {seen.task.title}: {said}."), "".join(parts))
