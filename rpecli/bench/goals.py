"""What the benchmarks are to show, and whether a number does.

These are the only places beside the peers' file that name encodings: a goal is set for an encoding, whatever kernel serves it.
"""

import math

from rpecli.choice import parse_choice
from rpecli.encoding import DistanceBias, Encoding

BY_DISTANCE = 1.25  # forward over plain attention's, biases of the distance alone
FORWARD = {"alibi": 1.25, "fox": 1.25, "transformer-xl": 1.25, "fire": 3.0, "shaw": 2.5}
FROM = 2048  # shorter sequences have no goal: there the fixed cost of a call decides
LINEAR_ONLY = ("fire", "shaw")  # memory that grows with the length, without a bound
EXTRA_MB, AT = 64.0, 8192  # memory beyond plain attention's, at this length; in proportion above it
FLAT_MB = 16.0  # what allocators round to: growth below it says nothing
DOUBLING = 1.25  # times the growth of the length: still called linear
TRAINING = 1.5  # tokens a second over the best setting of a peer
PEER = "x-transformers"  # that this is said of
TRAINED = ("none", "rope", "alibi", "t5")  # encodings that this holds for
LEARNED_BIAS = 1.5  # a step's time over that of REFERENCE, at length 512
REFERENCE = "rope"
DATA = 0.01  # share of a step that making its batch may take
EVALUATION = 0.2  # of the training time, at 8 lengths
MACHINE_GIB = 24.0  # on which an evaluation at 32768 is to end
STACKED = {"cpu": 1.0, "cuda": 5.0}  # seeds stacked, over one after another


def forward(choice: str, made: Encoding) -> float | None:
    """The most times plain attention's forward pass that an encoding may take."""
    name = parse_choice(choice)[0]
    return FORWARD.get(name, BY_DISTANCE if isinstance(made, DistanceBias) else None)


def said(missed: list[str]) -> str:
    return f"not met: {', '.join(missed)}" if missed else "met"


def attention(choice: str, most: float | None, ratios: dict[int, float], extra_mb: dict[int, float]) -> str:
    """`met`, `not met: 4096, memory`, or `-` where there is no goal or nothing was measured."""
    timed = {length: ratio for length, ratio in ratios.items() if length >= FROM and not math.isnan(ratio)}
    known = {length: mb for length, mb in extra_mb.items() if length >= FROM and not math.isnan(mb)}
    if most is None or not (timed or known):
        return "-"
    missed = [str(length) for length, ratio in timed.items() if ratio > most]
    within = grows_linearly if parse_choice(choice)[0] in LINEAR_ONLY else fits
    return said(missed + ([] if within(known) else ["memory"]))


def fits(extra_mb: dict[int, float]) -> bool:
    return all(mb <= EXTRA_MB * max(1.0, length / AT) for length, mb in extra_mb.items())


def grows_linearly(extra_mb: dict[int, float]) -> bool:
    """From the second longest length to the longest; growth in proportion to the square would be twice the length's."""
    if len(extra_mb) < 2:
        return True
    (short, little), (long, much) = sorted(extra_mb.items())[-2:]
    return max(much, FLAT_MB) / max(little, FLAT_MB) <= DOUBLING * long / short


def training(gains: dict[str, float]) -> str:
    """One verdict for all dtypes of ours, or one for each where they differ."""
    found = {dtype: at_least(value, TRAINING) for dtype, value in gains.items()}
    same = set(found.values())
    return same.pop() if len(same) == 1 else "; ".join(f"{dtype} {verdict}" for dtype, verdict in found.items())


def at_least(value: float, goal: float) -> str:
    return "-" if math.isnan(value) else "met" if value >= goal else "not met"


def at_most(value: float, goal: float) -> str:
    return "-" if math.isnan(value) else "met" if value <= goal else "not met"
