"""Checks of options that encodings share: each raises ValueError that says what to write instead."""

from collections.abc import Collection

from rpecli.encoding import Shape


def even_head(shape: Shape) -> None:
    """Rotations pair the channels of a head."""
    if shape.d_head % 2:
        raise ValueError(
            f"head width d_model/n_head = {shape.d_head} is odd, but rotations pair channels: "
            f"write d_model={(shape.d_head + 1) * shape.n_head}"
        )


def even_width(shape: Shape) -> None:
    """Sines and cosines pair the channels of the model."""
    if shape.d_model % 2:
        wider = shape.d_model + shape.n_head  # which n_head divides too
        raise ValueError(f"d_model={shape.d_model} is odd, but sine and cosine pair channels: write d_model={wider}")


def positive(**options: float) -> None:
    """Bases of frequencies, scales and the like."""
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name}={value:g}: must be above 0")


def at_least(least: float, **options: float) -> None:
    for name, value in options.items():
        if not value >= least:
            raise ValueError(f"{name}={value:g}: must be at least {least:g}")


def one_of(choices: Collection[str], **options: str) -> None:
    for name, value in options.items():
        if value not in choices:
            *others, last = choices
            raise ValueError(f"{name} is {', '.join(others)} or {last}, not {value!r}")
