"""Two statistics of one evaluation, without torch: reports need them too."""


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share of n. Raises ValueError unless 0 <= successes <= n."""
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def rescaled_accuracy(accuracy: float, chance: float) -> float | None:
    """(accuracy - chance) / (1 - chance): 0 at chance, 1 if perfect, below 0 if worse than chance; None if chance is 1."""
    return (accuracy - chance) / (1 - chance) if chance < 1 else None
