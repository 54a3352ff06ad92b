"""The heat map of a page: token accuracy or perplexity of every encoding, length and task, colored from chance to the best."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rpecli.report import overview
from rpecli.report.aggregate import EncodingResults, TaskResults
from rpecli.report.format import format_factor
from rpecli.report.measures import Scoring
from rpecli.table import plural

MAX_LENGTHS = 8  # of a task
MAX_COLUMNS = 32  # of tasks side by side
DENSITIES = {  # up to so many columns of numbers: class of the table, pixels that its names take, and each of its numbers
    16: ("", 450, 44), 24: ("dense", 358, 36), MAX_COLUMNS: ("dense denser", 350, 30),
}  # fmt: skip
LOW, HIGH = (247, 244, 235), (20, 75, 140)  # the colors of chance and of the best, on a light ground
LOW_DARK, HIGH_DARK = (38, 43, 51), (125, 180, 255)  # the same on a dark ground
Color = tuple[int, int, int]


@dataclass(frozen=True)
class HeatCell:
    """One encoding at one length."""

    text: str
    level: int  # of the color: 0 at chance or below, 100 where every token is right, or at the lowest perplexity of the task
    words: str  # range over seeds, chance, exact match
    unsolved: bool  # it is the training length, and not every run learned it
    fewer: bool = False  # not every run was evaluated there


@dataclass(frozen=True)
class HeatTask:
    """The columns of one task."""

    title: str
    train_length: int
    lengths: list[int]
    chance: list[str]
    scoring: Scoring
    top: float  # the score, with chance at 0, that has the last color

    def factor(self, length: int) -> str:
        return format_factor(length, self.train_length)


@dataclass(frozen=True)
class HeatRow:
    """One encoding: its cells by task and length, and the mean of what they rest on beyond training."""

    title: str
    group: str
    source: str
    cells: list[list[HeatCell | None]]
    mean: int | None  # per cent of the way from chance to perfection


@dataclass(frozen=True)
class HeatMap:
    """All rows, the best first, yours before those of the reference, and all tasks."""

    tasks: list[HeatTask]
    rows: list[HeatRow]
    sources: bool  # whether reference results stand beside others
    over: str  # what the means are taken over

    @property
    def bands(self) -> list[list[int]]:
        """The places of the tasks that stand side by side, as many as fit."""
        bands: list[list[int]] = []
        for place, task in enumerate(self.tasks):
            if not bands or self.columns(bands[-1]) + len(task.lengths) > MAX_COLUMNS:
                bands.append([])
            bands[-1].append(place)
        return bands

    def columns(self, places: Sequence[int]) -> int:
        return sum(len(self.tasks[place].lengths) for place in places)

    def density(self, places: Sequence[int]) -> str:
        """The class of a table of these tasks."""
        return _density(self.columns(places))[0]

    @property
    def scorings(self) -> list[Scoring]:
        return list(dict.fromkeys(task.scoring for task in self.tasks))

    @property
    def heading(self) -> str:
        """`Token accuracy, %`; of several scorings, of which tasks each is."""
        first, *others = self.scorings
        titles = {one: ", ".join(task.title for task in self.tasks if task.scoring is one) for one in others}
        return "; ".join([first.heading, *(f"{one.heading.lower()} of {names}" for one, names in titles.items())])

    @property
    def top(self) -> str:
        return " or ".join(scoring.top for scoring in self.scorings)

    @property
    def beyond(self) -> str:
        return " or ".join(scoring.beyond for scoring in self.scorings)

    @property
    def unsolved(self) -> bool:
        return any(cell and cell.unsolved for row in self.rows for cells in row.cells for cell in cells)

    @property
    def fewer(self) -> bool:
        return any(cell and cell.fewer for row in self.rows for cells in row.cells for cell in cells)

    @property
    def levels(self) -> set[int]:
        return {cell.level for row in self.rows for cells in row.cells for cell in cells if cell}


def heat_map(tasks: Sequence[TaskResults], reference: Sequence[TaskResults] = ()) -> HeatMap:
    """The heat map of these results; with `reference`, of its encodings too."""
    entries = overview.entries(tasks, reference)
    means = overview.means_beyond(entries)
    owners = {task.title: [entry for entry in entries if entry.task.title == task.title] for task in (*reference, *tasks)}
    owners = {title: owned for title, owned in owners.items() if any(entry.encoding.by_length for entry in owned)}
    columns = [_columns(owned) for owned in owners.values()]
    rows = [
        HeatRow(
            *row, [_cells(row, owned, task) for owned, task in zip(owners.values(), columns, strict=True)],
            None if (mean := means[row]) is None else round(100 * mean),
        )
        for row in sorted(overview.ordered(means), key=lambda row: row[2] == overview.REFERENCE)
    ]  # fmt: skip
    return HeatMap(columns, rows, bool(tasks and reference), overview.averaged_over(entries))


def _columns(entries: list[overview.Entry]) -> HeatTask:
    """The training length of a task and those beyond it, with chance at each."""
    task = entries[0].task
    chance = {length: share for entry in entries for length, share in entry.task.chance.items()}
    lengths = overview.lengths_of(task, entries, MAX_LENGTHS)
    texts, scoring = [task.scoring.shown.cell(chance.get(length)) for length in lengths], task.scoring
    scores = [_above_chance(entry.encoding, entry.task, length) or 0.0 for entry in entries for length in lengths]
    top = 1.0 if scoring.reaches_top else max([score for score in scores if score > 0], default=1.0)
    return HeatTask(task.short_title, task.train_length, lengths, texts, scoring, top)


def _above_chance(encoding: EncodingResults, task: TaskResults, length: int) -> float | None:
    """The score of the shown measure with chance at 0; as it is where chance is not known."""
    summary, chance = encoding.by_length.get(length, {}).get(task.scoring.shown.key), task.chance.get(length)
    if summary is None:
        return None
    score = task.scoring.shown.sign * summary.mean
    return score if chance is None else task.scoring.above_guess(score, task.scoring.guess_score(chance))


def _cells(row: overview.Row, entries: list[overview.Entry], column: HeatTask) -> list[HeatCell | None]:
    """The cells of one row in one task; None where it was not measured."""
    own = next((entry for entry in entries if entry.row == row), None)
    return [_cell(own.encoding, own.task, length, column.top) if own else None for length in column.lengths]


def _cell(encoding: EncodingResults, task: TaskResults, length: int, top: float) -> HeatCell | None:
    summaries, scoring = encoding.by_length.get(length, {}), task.scoring
    shown = summaries.get(scoring.shown.key)
    if shown is None:
        return None
    chance, above_chance = task.chance.get(length), _above_chance(encoding, task, length)
    unsolved = task.is_unsolved(encoding, length)
    words = [f"{encoding.title}, {task.short_title}, length {length} ({format_factor(length, task.train_length)})"]
    words += [f"{measure.name} {measure.write_range(summaries[measure.key])}"
              for measure in (scoring.shown, scoring.aside) if measure.key in summaries]  # fmt: skip
    words += [f"chance {scoring.shown.write(chance)}"] if chance is not None else []
    fewer = overview.has_fewer_seeds(encoding, length)
    words += [plural(shown.n, "seed") + (f" of {len(encoding.evaluated_runs)}: others were not evaluated there" if fewer else "")]
    if unsolved:
        words.append(f"{sum(encoding.solved_flags)} of {len(encoding.solved_flags)} learned the training length")
    level = round(100 * min(1.0, max(0.0, (above_chance or 0.0) / top)))
    return HeatCell(scoring.shown.cell(shown.mean), level, "; ".join(words), unsolved, fewer)


def css(heat: HeatMap) -> str:
    """A class `hN` for each level that occurs and the ends of the scale, on either ground; and from where tasks stand apart."""
    light, dark = (_ground(heat.levels, *ends) for ends in ((LOW, HIGH), (LOW_DARK, HIGH_DARK)))
    widest = max(map(_pixels, map(heat.columns, heat.bands)), default=0)
    narrow = f"@media (max-width:{widest}px){{.heat-wide{{display:none}}.heat-narrow{{display:block}}}}"
    return f"{light}\n@media screen and (prefers-color-scheme:dark){{{dark}}}\n{narrow}\n"


def _density(columns: int) -> tuple[str, int, int]:
    return next((density for most, density in DENSITIES.items() if columns <= most), DENSITIES[MAX_COLUMNS])


def _pixels(columns: int) -> int:
    _, names, number = _density(columns)
    return names + columns * number


def _ground(levels: Iterable[int], low: Color, high: Color) -> str:
    ends = f":root{{--heat-low:{hexadecimal(low)};--heat-high:{hexadecimal(high)}}}"
    return ends + "".join(f".heat .h{level}{{{_look(level, low, high)}}}" for level in sorted(levels))


def _look(level: int, low: Color, high: Color) -> str:
    ground = mixed(level, low, high)
    return f"background-color:{hexadecimal(ground)};color:{hexadecimal(ink(ground))}"


def mixed(level: int, low: Color, high: Color) -> Color:
    """The color at `level` per cent of the way."""
    red, green, blue = (round(a + (b - a) * level / 100) for a, b in zip(low, high, strict=True))
    return red, green, blue


def ink(ground: Color) -> Color:
    """Black or white, whichever stands out more: one of them always has a contrast of 4.5:1 at least."""
    return (255, 255, 255) if contrast(ground, (255, 255, 255)) > contrast(ground, (0, 0, 0)) else (0, 0, 0)


def contrast(one: Color, other: Color) -> float:
    """The ratio of two colors' luminances (WCAG 2)."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: Color) -> float:
    shares = [value / 255 for value in color]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def hexadecimal(color: Color) -> str:
    """A color as HTML writes it."""
    return "#" + "".join(f"{value:02x}" for value in color)
