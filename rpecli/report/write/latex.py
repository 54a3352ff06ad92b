"""A report for a paper: paper.tex, one table that fits a column, and appendix.tex, every table.

\\usepackage{booktabs}                 paper.tex:    \\input{paper} where the table goes
\\usepackage{booktabs,graphicx}        appendix.tex: \\input{appendix} behind the text
"""

from rpecli.escape import latex, latex_row
from rpecli.report import paired, stats
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.content import ReportContent
from rpecli.report.format import format_factor, format_p
from rpecli.report.measures import Measure
from rpecli.report.overview import entries, means_beyond, ordered
from rpecli.table import plural, slug

ACROSS = 3  # tasks beside each other: a column of 3.25 in holds no more
LONGEST = 40  # rows of a table on one page
AT_ONCE = 8  # floats that LaTeX is given before it has to set them; it holds 18


def paper(content: ReportContent, factor: float | None = None, ours: str | None = None) -> bytes:
    """One table: encodings by task, at the length that is `factor` times the training length, by default the first beyond it.

    The encoding with the label `ours` stands on top, and a second table compares it with each other one, where there are any.
    """
    tasks = [task for task in content.tasks if length_of(task, factor) is not None]
    if not tasks:
        return b"% no run was evaluated beyond its training length\n"
    names, across = _names(tasks, ours), min(ACROSS, len(tasks))
    blocks = [_block(tasks[start : start + across], across, names, factor) for start in range(0, len(tasks), across)]
    body = _tabular("l" + "c" * across, "\n\\midrule\n".join(blocks))
    caption = _caption(tasks, factor)
    compared = _tasks_of_ours(tasks, ours) if ours else []
    if ours and compared:
        caption += f" {_caption_of_ours(compared)}"
        body += "\\par\\medskip\n" + _tabular("lcc", _against(compared, ours))
    return (
        "% \\usepackage{booktabs} in the preamble\n\\begin{table}[t]\n\\centering\\footnotesize\\setlength{\\tabcolsep}{2.5pt}\n"
        f"\\caption{{{caption}}}\n\\label{{tab:{slug(content.name)}}}\n\\vskip 4pt\n{body}\\end{{table}}\n"
    ).encode()


def _tabular(align: str, rows: str) -> str:
    return f"\\begin{{tabular}}{{@{{}}{align}@{{}}}}\n\\toprule\n{rows}\n\\bottomrule\n\\end{{tabular}}\n"


def length_of(task: TaskResults, factor: float | None) -> int | None:
    """The evaluated length that a table shows of a task: the first beyond training, or that of a factor."""
    if factor is None:
        return next((length for length in task.own_lengths if length > task.train_length), None)
    return next((length for length in task.lengths if length == round(factor * task.train_length)), None)


def _names(tasks: list[TaskResults], ours: str | None) -> list[str]:
    """The encodings of all tasks, ours first, then the best beyond training."""
    titles = {one.short_title for task in tasks for one in task.encodings if one.label == ours}
    rows = [row[0] for row in ordered(means_beyond(entries(tasks, [])))]
    return list(dict.fromkeys(sorted(rows, key=lambda name: name not in titles)))


def _tasks_of_ours(tasks: list[TaskResults], ours: str) -> list[TaskResults]:
    """The tasks in which ours has seeds in common with another encoding; where measures differ, those of the first."""
    shared = [task for task in tasks if _has_other(paired.scores(task, task.scoring.decides), ours)]
    return [task for task in shared if task.scoring.decides is shared[0].scoring.decides]


def _has_other(scores: paired.Scores, ours: str) -> bool:
    return ours in scores and any(paired.shared_seeds(scores[ours], scores[label]) for label in scores if label != ours)


def _against(tasks: list[TaskResults], ours: str) -> str:
    """Ours minus each other encoding over these tasks: a row each, with its interval and p after Holm."""
    measure = tasks[0].scoring.decides
    by_task = [paired.scores(task, measure) for task in tasks]
    titles = {one.label: one.short_title for task in tasks for one in task.own}
    strata = {label: [paired.seed_differences(scores[ours], scores[label]) for scores in by_task if label in scores]
              for label in titles if label != ours}  # fmt: skip
    differences = {label: difference for label, values in strata.items()
                   if (difference := paired.difference(values, measure.difference_bounds))}  # fmt: skip
    tests = {label: difference.p for label, difference in differences.items() if difference.p is not None}
    adjusted = dict(zip(tests, stats.holm(list(tests.values())), strict=True))
    rows = []
    for label, difference in sorted(differences.items(), key=lambda item: item[1].mean):
        ends = latex(measure.write_change_interval(difference.interval)).replace(" to ", ", ")
        cell = latex(measure.bare_difference(difference.mean)) + (f" {{\\scriptsize[{ends}]}}" if difference.interval else "")
        rows.append(latex_row([latex(titles[label]), cell, latex(format_p(adjusted.get(label)))]))
    head = latex_row([latex(f"{titles[ours]} against"), latex(f"difference ({measure.difference_unit})"), "p"])
    return f"{head} \\\\\n\\midrule\n" + " \\\\\n".join(rows) + " \\\\"


def _caption_of_ours(tasks: list[TaskResults]) -> str:
    measure = tasks[0].scoring.decides
    return latex(
        f"Below: difference {measure.of or 'beyond training'} over all tasks and seeds, p of the paired sign-flip test (Holm)."
    )


def _block(tasks: list[TaskResults], across: int, names: list[str], factor: float | None) -> str:
    """Tasks beside each other, in so many columns: a heading, and a row per encoding."""
    empty = [""] * (across - len(tasks))
    lengths = [length_of(task, factor) or 0 for task in tasks]
    titles = [latex(task.short_title) for task in tasks]
    factors = [f"{length} ({format_factor(length, task.train_length)})" for task, length in zip(tasks, lengths, strict=True)]
    columns = [_column(task, length) for task, length in zip(tasks, lengths, strict=True)]
    rows = [latex_row([latex(name), *(column.get(name, "--") for column in columns), *empty]) for name in names]
    head = [latex_row(["", *titles, *empty]), latex_row(["encoding", *map(latex, factors), *empty])]
    return " \\\\\n".join(head) + " \\\\\n\\midrule\n" + " \\\\\n".join(rows) + " \\\\"


def _column(task: TaskResults, length: int) -> dict[str, str]:
    """The cell of each encoding, the best mean of those that were trained bold."""
    shown = task.scoring.shown
    values = {one.short_title: _scores(one, length, shown) for one in task.encodings}
    means = {name: stats.mean([scores]) for name, scores in values.items() if scores}
    own = [means[one.short_title] for one in task.own if one.short_title in means]
    best = max(own, default=0.0)
    return {name: _cell(scores, shown, bold=means[name] == best) for name, scores in values.items() if scores}


def _scores(encoding: EncodingResults, length: int, measure: Measure) -> list[float]:
    """The score of each seed."""
    values = [run.by_length(measure.key).get(length) for run in encoding.evaluated_runs]
    return [measure.sign * value for value in values if value is not None]


def _cell(scores: list[float], measure: Measure, bold: bool) -> str:
    """`91 [84, 95]`, the interval small."""
    mean = latex(measure.bare(measure.sign * stats.mean([scores])))
    interval = stats.mean_interval([scores], measure.bounds)
    ends = "" if interval is None else ", ".join(latex(measure.bare(measure.sign * end)) for end in interval[:: measure.sign])
    return (f"\\textbf{{{mean}}}" if bold else mean) + (f" {{\\scriptsize[{ends}]}}" if ends else "")


def _caption(tasks: list[TaskResults], factor: float | None) -> str:
    """What the cells are."""
    measures = list(dict.fromkeys(task.scoring.shown.axis for task in tasks))
    counts = [len(_scores(one, length_of(task, factor) or 0, task.scoring.shown)) for task in tasks for one in task.own]
    seeds = {count for count in counts if count} or {0}
    where = "the first tested length beyond training" if factor is None else f"{factor:g} times the training length"
    many = plural(max(seeds), "seed") if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)} seeds"
    interval = " with 95 % interval" if max(seeds) >= stats.MIN_SEEDS else ""
    text = f"{' and '.join(measures)} at {where} (its multiple in brackets): mean over {many}{interval}, the best mean bold."
    return latex(text[0].upper() + text[1:])


def appendix(content: ReportContent) -> bytes:
    """Every table, in floats over the whole width of a page, a few at a time."""
    floats = [part.latex() for table in content.all_tables for part in table.parts(LONGEST)]
    parts = [floats[start : start + AT_ONCE] for start in range(0, len(floats), AT_ONCE)]
    head = "% \\usepackage{booktabs,graphicx} in the preamble\n"
    return (head + "\n\\clearpage\n".join("\n".join(part) for part in parts)).encode()
