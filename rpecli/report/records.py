"""Records of comparisons: differences, pairs, pooled results, verdicts. Their docstrings are the documented schema."""

from pydantic import BaseModel, ConfigDict

FORMAT = 2  # of report.json and compare.json: goes up when a key changes its meaning or is removed


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
    """lower end of the 95 % bootstrap interval over seeds; from 3 seeds per task"""
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


class PairKey(TaskKey):
    """Which two encodings a row compares, and by what."""

    measure: str
    """exact_match or token_accuracy: mean over log2 length beyond the training length"""
    first: str
    """label of an encoding"""
    second: str
    """label of another"""


class Pair(Difference, PairKey):
    """The difference of two encodings beyond the training length."""

    p_holm: float | None
    """p adjusted for all pairs of the task and measure (Holm)"""


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
    """exact_match or token_accuracy: mean over log2 length beyond the training length"""
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
    """lower end of its 95 % bootstrap interval"""
    rank_high: float | None
    """its upper end"""

    @property
    def iqm_interval(self) -> tuple[float, float] | None:
        return None if self.iqm_low is None or self.iqm_high is None else (self.iqm_low, self.iqm_high)

    @property
    def rank_interval(self) -> tuple[float, float] | None:
        return None if self.rank_low is None or self.rank_high is None else (self.rank_low, self.rank_high)


class Verdict(Record):
    """What the runs support of one claim."""

    claim: str
    """Length extrapolation, Translation invariance or Sample efficiency"""
    outcome: str
    """supported, contradicted, mixed, no difference, both at floor, not enough evidence or not measured"""
    lines: list[str]
    """sentences with the numbers"""
    difference: Difference | None
    """RPE minus APE over all tasks: what was tested"""
    by_task: dict[str, Difference]
    """the same for each task"""
    p_holm: float | None
    """p of the test, adjusted for the claims tested in this report (Holm)"""
