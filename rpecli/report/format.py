"""Numbers and words as tables show them."""

from rpecli.report.stats import Summary

pass

WORDS = {
    "exact_match": "exact match",
    "exact_match_eos": "exact match with the end token",
    "token_accuracy": "token accuracy",
    "rescaled_accuracy": "token accuracy rescaled for chance",
}


MISSING = "-"


def number(value: float) -> str:
    """`.84`; only a true 1 is written 1.00 and only a true 0 is written .00."""
    if value < 0:
        return ">-.01" if value > -0.005 else "-" + number(-value)
    if 0.995 <= value < 1:
        return ">.99"
    return "<.01" if 0 < value < 0.005 else f"{value:.2f}".removeprefix("0")


def spread(found: Summary | None) -> str:
    """`.84 (.80-.88)`: the mean and, where several differ, their range."""
    if found is None:
        return MISSING
    low, high = number(found.low), number(found.high)
    return number(found.mean) if low == high else f"{number(found.mean)} ({low}-{high})"


def factor(length: int, train_length: int) -> str:
    times = length / train_length
    return f"{times:.3g}x" if times < 1000 else f"{times:.0f}x"  # .3g would write 8.19e+03


def count(flags: list[bool]) -> str:
    return f"{sum(flags)}/{len(flags)}" if flags else MISSING


def middle(found: Summary | None) -> str:
    """`.84; .85 (.80-.88)`: mean; median (range)."""
    if found is None:
        return MISSING
    low, high = number(found.low), number(found.high)
    return f"{number(found.mean)}; {number(found.median)}" + (f" ({low}-{high})" if low != high else "")


def probability(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("= 0.", "= .")


def signed(value: float) -> str:
    """`+.12`, `-.05`, `.00`."""
    return ("-" if value < 0 else "+" if value > 0 else "") + number(abs(value))
