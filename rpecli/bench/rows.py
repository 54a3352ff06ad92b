"""The rows that benchmarks write to CSV and JSON: one row per measured case; a number that was not measured is NaN.

Times are medians over the rounds. A ratio is the median over the rounds of the ratio of two times of the same round.
"""

from dataclasses import dataclass


@dataclass(kw_only=True)
class AttentionRow:
    """Forward pass of attention with one encoding at one length."""

    encoding: str
    length: int  # tokens
    ms: float  # of one call
    plain_ms: float  # of plain causal attention in the same rounds
    ratio: float  # ms over plain_ms
    lowest: float  # of the rounds' ratios
    highest: float
    rounds: int
    calls: int  # per round
    extra_mb: float  # peak memory of a call beyond plain attention's, in MiB
    note: str


@dataclass(kw_only=True)
class PeerRow:
    """One training step of one library in one of its settings."""

    table: str = "peers"
    size: str  # width x layers x heads x length x batch
    encoding: str
    library: str
    setting: str  # the dtype, for rpe
    ms: float
    tokens_per_second: float
    parameters: int
    rounds: list[float]  # seconds
    note: str


@dataclass(kw_only=True)
class LearnedRow(PeerRow):
    """One training step with a learned relative encoding, beside the reference encoding."""

    table: str = "learned encodings"
    ratio: float  # ms over reference_ms
    reference_ms: float


@dataclass(kw_only=True)
class EfficiencyRow:
    """One training step beside the fastest matrix product of the machine."""

    table: str = "efficiency"
    size: str
    encoding: str
    setting: str  # the dtype
    ms: float
    gflop: float  # of a step, by formula
    gflop_per_second: float
    peak_gflop_per_second: float  # of the fastest square matrix product in the same dtype and rounds
    share_of_peak: float
    batch_ms: float  # to make the batch
    batch_share: float  # batch_ms over ms


@dataclass(kw_only=True)
class TimeRow:
    """Training and evaluation of one run."""

    table: str = "time"
    run: str
    task: str
    encoding: str
    steps: int
    lengths: str
    training: list[float]  # seconds, one number per round
    evaluation: list[float]
    training_s: float
    evaluation_s: float
    share: float  # evaluation over training


@dataclass(kw_only=True)
class MemoryRow:
    """Memory that one evaluation batch needs at one length."""

    table: str = "memory"
    task: str
    encoding: str
    length: int  # of the problem
    tokens: int  # of one sequence
    sequences: int  # in the batch
    estimated_mb: float  # by `rpe eval`, before it starts, in MiB
    measured_mb: float
    note: str


@dataclass(kw_only=True)
class StackRow:
    """One training step of several seeds, trained by one method."""

    size: str
    encoding: str
    seeds: int
    method: str
    step_ms: float  # of all seeds
    gain: float  # how many times as fast as one seed after another
    rounds: list[float]  # seconds
    note: str


BenchRow = AttentionRow | PeerRow | EfficiencyRow | TimeRow | MemoryRow | StackRow
