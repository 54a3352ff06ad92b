"""A bench for positional encodings and length generalization."""

__version__ = "0.1.0"
