"""Records of comparisons: differences, pairs, pooled results, verdicts. Their docstrings are the documented schema."""

from pydantic import BaseModel, ConfigDict

FORMAT = 3  # of report.json and compare.json: goes up when a key changes its meaning or is removed


class Record(BaseModel):
    """Refuses keys that are not described."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", frozen=True)


class TaskKey(Record):
    """The task of a row."""

    task: str
    """the task, with its options"""
    training_length: int
    """longest problem trained on"""


class Difference(Record):
    """The mean of differences that are paired by seed."""

    mean: float
    """first minus second, or RPE minus APE"""
    low: float | None
    """lower end of the 95 % interval over seeds: t from 3 seeds per task, bootstrap from 6"""
    high: float | None
    """its upper end"""
    p: float | None
    """two-sided sign-flip permutation test; from 3 seeds per task"""
    pairs: int
    """number of pairs of seeds"""
    seeds: int
    """number of seeds of the task that has the fewest"""
    tasks: int
    """number of tasks"""

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def side(self) -> int:
        """1 or -1 where the interval lies wholly above or below 0, else 0."""
        return 0 if self.interval is None else int(self.interval[0] > 0) - int(self.interval[1] < 0)

    def within(self, margin: float) -> bool:
        """Whether the whole interval is negligible."""
        return self.interval is not None and -margin <= self.interval[0] and self.interval[1] <= margin


class PairKey(TaskKey):
    """Which two encodings a row compares, and by what."""

    measure: str
    """exact_match, token_accuracy or nll with the sign turned: mean over log2 length beyond the training length"""
    first: str
    """label of an encoding"""
    second: str
    """label of another"""


class Pair(Difference, PairKey):
    """The difference of two encodings beyond the training length."""

    p_holm: float | None
    """p adjusted for all pairs of the task and measure (Holm)"""


class GridRow(TaskKey):
    """One encoding at two sizes of a task that has two, over its seeds."""

    label: str
    """label of an encoding"""
    first_name: str
    """what the first size counts"""
    first: int
    """the first size"""
    second_name: str
    """what the second size counts"""
    second: int
    """the second size"""
    trained: bool
    """whether training had problems of these sizes"""
    seeds: int
    """number of runs"""
    exact_match: float
    """mean over the runs"""
    low: float
    """the lowest"""
    high: float
    """the highest"""


class McNemarPair(TaskKey):
    """Two trained models of one seed on the same sequences (McNemar's exact test). It does not generalize to other seeds."""

    first: str
    """label of an encoding"""
    second: str
    """label of another"""
    seed: int
    """seed of both"""
    length: int
    """the first evaluated length beyond the training length"""
    n: int
    """number of sequences"""
    only_first_correct: int
    """sequences that only the first got right"""
    only_second_correct: int
    """sequences that only the second got right"""
    p: float
    """p of McNemar's exact test"""
    p_holm: float
    """p adjusted for all pairs of models of the task (Holm)"""


class Pooled(Record):
    """One encoding, or one group, over the tasks of a family or over all tasks."""

    family: str
    """family of tasks, or `all`"""
    measure: str
    """exact_match, token_accuracy or nll with the sign turned: mean over log2 length beyond the training length"""
    label: str
    """label of the encoding; empty for a group"""
    group: str
    """APE, RPE, content or none"""
    tasks: int
    """number of tasks of the family that have it"""
    runs: int
    """number of runs"""
    iqm: float
    """interquartile mean over all (task, seed)"""
    iqm_low: float | None
    """lower end of its 95 % bootstrap interval over seeds within each task; from 3 seeds per task"""
    iqm_high: float | None
    """its upper end"""
    rank: float | None
    """mean rank within task and seed, 1 the highest, ties averaged; null for a group"""
    rank_low: float | None
    """lower end of its 95 % interval: t from 3 seeds per task, bootstrap from 6"""
    rank_high: float | None
    """its upper end"""

    @property
    def iqm_interval(self) -> tuple[float, float] | None:
        return None if self.iqm_low is None or self.iqm_high is None else (self.iqm_low, self.iqm_high)

    @property
    def rank_interval(self) -> tuple[float, float] | None:
        return None if self.rank_low is None or self.rank_high is None else (self.rank_low, self.rank_high)


class SuiteRow(Record):
    """One encoding on the tasks of a suite, of a family, or on all tasks; only in reports of a whole suite or of many tasks."""

    kind: str
    """suite, family or all"""
    name: str
    """name of the suite or of the family"""
    encoding: str
    """label of the encoding"""
    title: str
    """the label as people know it"""
    group: str
    """APE, RPE, content or none"""
    tasks: int
    """number of its tasks that the encoding was run on"""
    token_accuracy: float | None
    """token accuracy over log2 length beyond the training length, mean over seeds, then over tasks"""
    solved: int
    """number of tasks whose training length most runs learned"""
    held: int
    """number of tasks on which most runs have an exact match of at least 0.95 at every length up to the longest"""


class ProfilePoint(Record):
    """One point of a performance profile (Agarwal et al. 2021): the share of runs that score above a threshold."""

    measure: str
    """exact_match or token_accuracy: mean over log2 length beyond the training length"""
    label: str
    """label of an encoding that every task has"""
    group: str
    """APE, RPE, content or none"""
    runs: int
    """number of runs, over all tasks and seeds"""
    threshold: float
    """score that a run must exceed"""
    share: float
    """share of runs that do"""
    low: float | None
    """lower end of its pointwise 95 % bootstrap interval over seeds within each task; from 3 seeds per task"""
    high: float | None
    """its upper end"""


class Verdict(Record):
    """What the runs support of one claim, about the encodings and the tasks that were run."""

    claim: str
    """Length extrapolation, Translation invariance or Sample efficiency"""
    outcome: str
    """supported, contradicted, mixed, no difference, both at floor, not enough evidence or not measured"""
    summary: str
    """one sentence: the outcome, the effect with its interval, p, and what was compared"""
    effect: str | None
    """the difference with its interval in words: `+9 points [4, 13]`, `22 % fewer steps [19, 28]`"""
    compared: str | None
    """`these 4 relative encodings against these 2 absolute ones on these 3 tasks`"""
    reference: str | None
    """of a claim that these runs do not measure: outcome, effect and p of the reference results on the same tasks and lengths"""
    reference_compared: str | None
    """the encodings and tasks of that"""
    settle: str | None
    """what should decide a claim that has not enough evidence: a command, or why none is proposed"""
    lines: list[str]
    """sentences with the numbers"""
    difference: Difference | None
    """RPE minus APE over all tasks: what was tested"""
    by_task: dict[str, Difference]
    """the same for each task"""
    margin: float
    """differences within it are negligible: of accuracy, of log2 steps, or of nats per token"""
    p_equivalence: float | None
    """p of two one-sided sign-flip tests (TOST) that the difference lies within the margin"""
    p_holm: float | None
    """p of the deciding test, adjusted for the claims tested in this report (Holm): that of equivalence where the interval lies
    within the margin, else that of the difference"""
    p_labels: float | None
    """permutation p over labels: the share of all ways to call as many of these encodings relative that differ as much"""
    p_labels_smallest: float | None
    """no smaller p_labels exists for these numbers of encodings"""
    p_welch: float | None
    """p of Welch's t test over the means of the encodings, for a claim about encodings in general (exploratory)"""
    seeds_needed: int | None
    """seeds per task that should decide the claim, from the effect and spread seen; null where decided, or beyond 30"""

    @property
    def beside(self) -> str:
        """What the reference says, in a sentence; empty where the runs measure the claim themselves."""
        return f"{self.reference}; {self.reference_compared}." if self.reference else ""

    @property
    def equivalent(self) -> bool:
        """Whether the whole interval lies within the margin, so that the test of equivalence decides."""
        return self.difference is not None and self.difference.within(self.margin)

    @property
    def p_deciding(self) -> float | None:
        """The p that the outcome rests on, before the correction."""
        return self.p_equivalence if self.equivalent else self.p_difference

    @property
    def p_difference(self) -> float | None:
        return self.difference.p if self.difference else None
