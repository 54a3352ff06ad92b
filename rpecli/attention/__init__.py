"""Attention for any encoding: one reference, and faster kernels where they give the same result."""
