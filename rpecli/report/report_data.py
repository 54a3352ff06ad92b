"""Records of report.json and of the CSV files. Their docstrings are the documented schema (docs/files.md)."""

from typing import Any

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from rpecli.report.headline import Headline
from rpecli.report.records import Pair, Pooled, ProfilePoint, Record, SuiteRow, TaskKey, Verdict


class Range(Record):
    """A number over seeds; null without seeds."""

    mean: float | None
    """mean"""
    low: float | None
    """lowest"""
    high: float | None
    """highest"""


class Spread(Range):
    """A measure over seeds; null where it was not measured."""

    median: float | None
    """median"""


class SpreadInterval(Spread):
    """A measure over seeds, with the interval of its mean."""

    interval_low: float | None
    """lower end of the 95 % interval of the mean: t from 3 seeds, bootstrap from 6"""
    interval_high: float | None
    """its upper end"""


class StepsToTarget(Record):
    """Training steps until token accuracy first reached a target."""

    median: float | None
    """median over runs; null where half of them or fewer reached it"""
    reached: int
    """number of runs that reached it"""
    runs: int
    """number of runs that recorded it"""


class SummaryRow(TaskKey):
    """One encoding at one length of one task, over its seeds. summary.csv joins the keys of a nested record with `_`."""

    task_title: str
    """the task as people know it"""
    measure: str
    """what reports show and test of the task: accuracy or perplexity"""
    encoding: str
    """label: the encoding, its positions, and recipe keys that tell it from others"""
    title: str
    """the label as people know it"""
    source: str
    """yours, or reference with its commit and machine"""
    group: str
    """APE, RPE, content or none"""
    length: int | None
    """problem length; null for an encoding without evaluations"""
    factor: float | None
    """length divided by the training length"""
    runs: int
    """number of runs evaluated at this length"""
    exact_match: SpreadInterval
    """all answer tokens right"""
    exact_match_eos: Spread
    """all answer tokens and the end token right"""
    token_accuracy: SpreadInterval
    """accuracy over all answer tokens"""
    rescaled_accuracy: Spread
    """token accuracy with chance at 0 and perfection at 1"""
    nll: Spread
    """mean negative log-likelihood of an answer token, in nats"""
    perplexity: Spread
    """exponential of nll: its mean is geometric"""
    chance: float | None
    """token accuracy of the best guess that does not look at the input"""
    chance_nll: float | None
    """nats per answer token of that guess; null for tasks that are not measured by perplexity"""
    untrained_positions: float
    """share of evaluated positions whose parameters training never touched"""
    solved: int
    """number of runs that learned their training length"""
    solved_known: int
    """number of runs of which that is known, failed ones included"""
    failed: int
    """number of runs that failed"""
    effective_length: Range
    """longest length up to which exact match is at least 0.95; by perplexity: up to which it is at most 1 % above that at the
    training length"""
    half_length: Range
    """the same with 0.50, or 10 %"""
    area_mean: float | None
    """token accuracy averaged over log2 length, mean over seeds"""
    exact_match_area_mean: float | None
    """exact match averaged over log2 length, mean over seeds"""
    steps_to_90: StepsToTarget
    """training steps to a validation token accuracy of 0.90"""


class GroupRow(TaskKey):
    """The encodings of one group at one length of one task: the mean of their means over seeds."""

    group: str
    """APE, RPE, content or none"""
    encodings: int
    """number of encodings"""
    runs: int
    """number of their runs, evaluated or failed"""
    solved: int
    """number of runs that learned their training length"""
    solved_known: int
    """number of runs of which that is known"""
    length: int
    """problem length"""
    factor: float
    """length divided by the training length"""
    exact_match: float | None
    """all answer tokens right"""
    exact_match_eos: float | None
    """all answer tokens and the end token right"""
    token_accuracy: float | None
    """accuracy over all answer tokens"""
    rescaled_accuracy: float | None
    """token accuracy with chance at 0 and perfection at 1"""
    nll: float | None
    """mean negative log-likelihood of an answer token, in nats"""


@with_config(ConfigDict(use_attribute_docstrings=True, extra="allow"))
class RunRecord(TypedDict):
    """One run: its run.json, and the keys added to it."""

    id: str
    """name of its directory"""
    path: str
    """path of its directory when the report was made"""
    task: str
    """the task, with its options"""
    encoding: str
    """the encoding, with its options and any evaluation override"""
    group: str
    """APE, RPE, content or none"""
    family: str
    """family of the task"""
    seed: int
    """seed of weights and data"""
    status: str
    """created, training, stopped, failed or trained"""
    recipe: dict[str, Any]
    """every recipe key, resolved"""
    settings: dict[str, Any]
    """recipe keys that decide the weights, without task, encoding, positions, seed and length"""
    evaluations: list[dict[str, Any]]
    """the lines of eval.jsonl that the report uses, one per length"""


@with_config(ConfigDict(use_attribute_docstrings=True, extra="allow"))
class RunRow(TypedDict):
    """One run at one length, nothing averaged; recipe keys that decide the weights are further columns."""

    run: str
    """name of its directory"""
    task: str
    """the task, with its options"""
    encoding: str
    """the encoding, with its options and any evaluation override"""
    positions: str
    """positions in training"""
    group: str
    """APE, RPE, content or none"""
    seed: int
    """seed of weights and data"""
    status: str
    """created, training, stopped, failed or trained"""
    training_length: int
    """longest problem trained on"""
    length: int | None
    """problem length; empty for a run without evaluations"""
    factor: float | None
    """length divided by the training length"""
    sequence: int | None
    """tokens per sequence"""
    n: int | None
    """number of sequences"""
    exact_match: float | None
    """all answer tokens right"""
    exact_match_eos: float | None
    """all answer tokens and the end token right"""
    token_accuracy: float | None
    """accuracy over all answer tokens"""
    nll: float | None
    """mean negative log-likelihood of an answer token, in nats"""
    perplexity: float | None
    """exponential of nll"""
    chance: float | None
    """token accuracy of the best guess that does not look at the input"""
    chance_nll: float | None
    """nats per answer token of that guess; empty for tasks that are not measured by perplexity"""
    untrained_positions: float | None
    """share of evaluated positions whose parameters training never touched"""
    fingerprint: str | None
    """fingerprint of the evaluation set"""
    eval_seed: int | None
    """seed of the evaluation set"""
    low: float | None
    """lower end of the Wilson 95 % interval of exact match"""
    high: float | None
    """its upper end"""
    rescaled_accuracy: float | None
    """token accuracy with chance at 0 and perfection at 1"""
    accuracy_by_decile: str | None
    """token accuracy by tenth of the answer, joined by spaces"""
    nll_by_place: str | None
    """nll at places 1, 2, 3-4, 5-8, ... of the sequence, joined by spaces; for tasks that are measured by perplexity"""
    weights: str | None
    """fingerprint of the evaluated weights"""
    steps_to_90: int | None
    """training steps to a validation token accuracy of 0.90; empty for never"""
    tokens_to_90: int | None
    """training tokens to it"""
    steps_to_99: int | None
    """training steps to 0.99"""
    tokens_to_99: int | None
    """training tokens to it"""
    step: int | None
    """training steps done"""
    parameters: int | None
    """parameters of the model"""
    tokens: int | None
    """tokens trained on"""
    tokens_per_second: float | None
    """speed of training"""
    seconds: float | None
    """duration of training"""
    commit: str | None
    """commit that trained it"""
    dirty: bool | None
    """whether tracked files differed from the commit"""
    machine: str | None
    """processor and cores"""
    device: str | None
    """cpu, cuda or mps"""
    error: str | None
    """why the run failed"""
    steps: int
    """training steps in the recipe"""
    batch_tokens: int
    """recipe key `tokens`"""


class Provenance(Record):
    """Where the numbers come from; a list holds every value that occurs."""

    commits: dict[str, int]
    """number of runs by commit, with `+ changes` where tracked files differed from it"""
    versions: dict[str, list[str]]
    """versions of Python and packages"""
    machine: list[str]
    """processor and cores"""
    device: list[str]
    """cpu, cuda or mps"""
    platform: list[str]
    """operating system"""
    study: list[str]
    """recipes that the runs were made for"""
    eval_seeds: list[int]
    """seeds of the evaluation sets"""
    shared: dict[str, Any]
    """recipe keys that all runs share"""
    differing: dict[str, list[Any]]
    """recipe keys that differ between runs"""


class ReportData(Record):
    """The whole report. null: not available (no seed, fewer than three seeds, not a finite number)."""

    format: int
    """version of this schema"""
    rpe: str
    """version of rpe that wrote it"""
    name: str
    """name of the report"""
    command: str | None
    """command that made it"""
    commands: list[str]
    """commands that train and evaluate its runs and make it again"""
    headline: Headline
    """the answer in words, and its numbers"""
    verdicts: list[Verdict]
    """verdicts on the three claims"""
    provenance: Provenance
    """where the numbers come from"""
    runs: list[RunRecord]
    """all runs, failed ones included; one that was measured in several ways has an entry for each way"""
    rows: list[SummaryRow]
    """encodings by task and length"""
    reference: list[SummaryRow]
    """the same of reference results, for encodings that the runs do not have; no test and no other key counts them"""
    reference_notes: list[str]
    """how the runs compare with reference results, or why there are none"""
    groups: list[GroupRow]
    """groups by task and length"""
    pairs: list[Pair]
    """encodings compared two by two"""
    pooled: list[Pooled]
    """encodings and groups over several tasks"""
    suites: list[SuiteRow] = []
    """encodings by suite and family of tasks; empty in reports of few tasks and of no whole suite"""
    profiles: list[ProfilePoint]
    """performance profiles over all tasks and seeds"""
    warnings: list[str]
    """what is missing or wrong"""
