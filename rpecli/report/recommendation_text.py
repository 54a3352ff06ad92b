"""A recommendation in words and as a table: the answer first, then differences, cost, pretrained models, what was cut."""

from dataclasses import dataclass, replace

from rpecli.report import paired
from rpecli.report.aggregate import TaskResults
from rpecli.report.load import YOURS
from rpecli.report.measures import Measure
from rpecli.report.overview import CHANCE, Block, Blocks, Overview, Row, overview
from rpecli.report.recommendation import AT_CHANCE, CLEAR, EQUAL, OPEN, UNLEARNED, Candidate, Pretrained, Recommendation, Scaled
from rpecli.report.records import Difference
from rpecli.table import MISSING, plural
from rpecli.titles import display

WORDS = {"exact_match": "{} of strings right", "token_accuracy": "{} of tokens right", "nll": "a perplexity of {}"}
MAX_NAMES = 3  # in a sentence


@dataclass(frozen=True)
class Costs:
    """Time over that of plain attention, by the label of an encoding."""

    step: dict[str, float]  # of a training step of these models
    attention: dict[str, float]  # of attention alone
    length: int  # tokens of the latter

    def sentence(self, candidates: list[Candidate]) -> str:
        """Of the encoding to use, and of the next one; empty where nothing was timed."""
        timed = {"a training step of these models": self.step, f"attention alone at {self.length:,} tokens": self.attention}
        timed = {what: ratios for what, ratios in timed.items() if ratios}
        if not timed:
            return ""
        texts = [f"{one.title} {' and '.join(_times(ratios.get(one.label)) for ratios in timed.values())}" for one in candidates]
        how = "both timed" if len(timed) > 1 else "timed"
        return (
            f"Cost, as a multiple of plain attention, {how} in turn on this machine: "
            f"of {' and of '.join(timed)}: {'; '.join(texts)}."
        )


def _times(ratio: float | None) -> str:
    return MISSING if ratio is None else f"{ratio:.2f}x"


def answer(result: Recommendation, task: TaskResults) -> str:
    """The first line."""
    best, value = result.best, _value(result.measure, result.best.score)
    where = _where(result, task)
    if result.outcome == UNLEARNED:
        unlearned = f"no encoding learned even lengths up to {task.train_length}, so longer ones say nothing"
        return f"No answer yet: {unlearned}. The highest is {best.title}: {value} {where}."
    if result.outcome == AT_CHANCE:
        return f"No encoding holds {where}: none does much better than a guess. The best is {best.title}: {value}."
    if result.outcome == CLEAR:
        return f"Use {best.title}: {value} {where}{_lead(result)}."
    if result.outcome == EQUAL:
        others = [one.title for one in (best, *result.rivals) if one is not result.choice]
        cheapest = f"as good as {_names(others)} {where} (within {result.measure.margin_words}), and the cheapest of them"
        return f"Use {result.choice.title}: {cheapest}."
    return (
        f"Undecided: {best.title} leads with {value} {where}, but {_names([one.title for one in result.rivals])} may be as good."
    )


def _value(measure: Measure, score: float) -> str:
    return WORDS[measure.key].format(measure.write_score(score))


def _lead(result: Recommendation) -> str:
    """`; T5 bias 60 %`: the runner-up."""
    second = result.runner_up
    if second is None or second.behind is None:
        return ""
    return f"; {second.title} {result.measure.write_score(second.score)}"


def _where(result: Recommendation, task: TaskResults) -> str:
    if not result.beyond:
        return f"at the training length {task.train_length}"
    return f"at {_names(list(map(str, result.lengths)))}, trained on up to {task.train_length}"


def _names(names: list[str]) -> str:
    """`A`, `A and B`, `A, B and 3 more`."""
    if len(names) > MAX_NAMES:
        names = [*names[: MAX_NAMES - 1], f"{len(names) - MAX_NAMES + 1} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def details(result: Recommendation, task: TaskResults, costs: Costs) -> list[str]:
    """Paragraphs below the answer."""
    costs_of = [result.choice, *filter(None, [_other(result)])]
    if result.outcome == UNLEARNED:  # differences of models that learned nothing
        return list(filter(None, [costs.sentence(costs_of)]))
    paragraphs = [_comparison(result), _stopgap(result, costs), _only_trained(result, task), costs.sentence(costs_of)]
    return [*filter(None, paragraphs), *(_pretrained(model, result.measure) for model in result.pretrained)]


def _other(result: Recommendation) -> Candidate | None:
    return next((one for one in result.candidates if one is not result.choice), None)


def _comparison(result: Recommendation) -> str:
    """The differences to the next one, or to all that may be as good."""
    shown = result.rivals[:MAX_NAMES] or result.candidates[1:2]
    if not shown:
        return ""
    texts = [f"{'' if number else result.best.title + ' '}against {one.title} {_ahead(one.behind, result.measure)}"
             for number, one in enumerate(shown)]  # fmt: skip
    counted = f"{plural(result.best.seeds, 'seed')}, paired by seed, on the same strings"
    mean = "mean over log2 length" if len(result.lengths) > 1 else f"at {result.lengths[0]}"
    interval = "95 % interval" if any(one.behind and one.behind.interval for one in shown) else "no interval below 3 seeds"
    return f"{'; '.join(texts)} ({result.measure.name}, {mean}; {interval}, {counted})."


def _ahead(behind: Difference | None, measure: Measure) -> str:
    """`+13 points [5, 21]`, from a difference to the best one."""
    if behind is None:
        return "not compared"
    ahead = paired.turned(behind)
    return measure.write_difference(ahead.mean, ahead.interval)


def _stopgap(result: Recommendation, costs: Costs) -> str:
    """What to do while it is undecided."""
    if result.outcome != OPEN:
        return ""
    open_ones = [result.best, *result.rivals]
    cheapest = min(open_ones, key=lambda one: costs.step.get(one.label, 1.0))
    if cheapest is result.best:
        return f"Until it is decided: {result.best.title}, which has the highest mean and is the cheapest of them."
    return f"Until it is decided: {result.best.title} for the highest mean, {cheapest.title} for the lowest cost."


def _only_trained(result: Recommendation, task: TaskResults) -> str:
    if result.beyond:
        return ""
    return f"Nothing longer than {task.train_length} was tested, so this says nothing about longer inputs."


def _pretrained(model: Pretrained, measure: Measure) -> str:
    """What scalings do for a trained model that is kept."""
    start = f"To keep a pretrained {model.title} model ({measure.write_score(model.score)} as it is): "
    best = model.best
    advice = "no scaling of its frequencies is told from that" if best is None else f"use {_scaled(best, measure)}"
    others = [one for one in model.scaled if one is not best]
    more = f"; {'others' if best else 'measured'}: {'; '.join(_scaled(one, measure) for one in others)}" if others else ""
    return f"{start}{advice}{more} (rpe eval --swap-encoding {(best or model.scaled[0]).encoding})."


def _scaled(one: Scaled, measure: Measure) -> str:
    gain = "" if one.gain is None else f", {measure.write_difference(one.gain.mean, one.gain.interval)}"
    return f"{display('encodings', one.encoding)} {measure.write_score(one.score)}{gain}"


@dataclass(frozen=True)
class Ranking(Blocks):
    """Accuracy by length, then what the comparison is about, the best encoding first."""

    legend: list[str]

    @property
    def notes(self) -> list[str]:
        return self.legend


def ranking(result: Recommendation, tasks: list[TaskResults], costs: Costs) -> Ranking:
    """One row per encoding; `tasks` is the task with all runs, those that are not compared too."""
    by_length: Overview = overview(tasks)
    block = by_length.blocks[0]
    candidates = {one.title: one for one in result.candidates}
    own = {title: (title, group, YOURS) for title, group, source in by_length.rows if source == YOURS}
    order = [own[title] for title in candidates if title in own]
    order += [row for title, row in own.items() if title not in candidates and " as " not in title]
    rows: list[Row] = [*order, *([CHANCE] if CHANCE in block.cells else [])]
    head = ["mean", "to the best", "seeds", "step"]
    cells = {row: _cells(candidates.get(row[0]), result.measure, costs) for row in rows}
    comparison = Block("beyond" if result.beyond else "", head, cells)
    legend = [
        *by_length.notes,
        f"Mean: {result.measure.name}{' beyond training, over log2 length' if result.beyond else ''}; to the best: difference in "
        f"{result.measure.difference_unit}, with its 95 % interval; step: time of a training step over that of plain attention.",
    ]
    return Ranking(by_length.keys, rows, [replace(block, cells={row: block.cells[row] for row in rows}), comparison], legend)


def _cells(one: Candidate | None, measure: Measure, costs: Costs) -> list[str]:
    if one is None:
        return [""] * 4
    step = _times(costs.step.get(one.label))
    return [measure.bare(measure.sign * one.score), _to_best(one.behind, measure), str(one.seeds), step]


def _to_best(behind: Difference | None, measure: Measure) -> str:
    if behind is None:
        return MISSING
    ends = "" if behind.interval is None else f" [{', '.join(map(measure.bare_difference, behind.interval[:: measure.sign]))}]"
    return measure.bare_difference(behind.mean) + ends
