"""Encodings as the tests build them: seeded, moved away from their initial values, in either direction; and their inputs."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.attention import reference as attention_reference
from rpecli.choice import parse_choice
from rpecli.model import Transformer

M, H, D = 64, 4, 16
BOTH = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


def build(choice: str, trained: int = 32, causal: bool = True, **shape: int) -> encoding.Encoding:
    torch.manual_seed(0)
    return encoding.build(choice, **{"d_model": M, "n_head": H, **shape}, trained=trained, causal=causal)


def skip_one_way(choice: str, causal: bool) -> None:
    """Ends a test of both directions where an encoding has one."""
    name = parse_choice(choice)[0]
    if not causal and catalog.load_class("encodings", name, encoding.Encoding).causal_only:
        pytest.skip("has no form for attention in both directions")


def built(choice: str, causal: bool, **options: int) -> encoding.Encoding:
    """`build`, or a skip."""
    skip_one_way(choice, causal)
    return build(choice, causal=causal, **options)


def model_in(model_of, choice: str, causal: bool, **keys: object) -> Transformer:
    """A small model that attends in one or both directions, or a skip."""
    skip_one_way(choice, causal)
    return model_of(choice, attention="causal" if causal else "bidirectional", **keys)


def moved(made: encoding.Encoding, size: float = 0.5) -> encoding.Encoding:
    """Away from the initial values, whose zeros and ones would hide mistakes."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += size * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype)
    return made


def positions_of(kind: str, n: int) -> Tensor:
    if kind == "scattered":
        rng = np.random.default_rng(n)
        return torch.from_numpy(np.sort(rng.choice(200, n, replace=False)))[None]
    return torch.arange(n)[None] + {"start": 0, "offset": 100}[kind]


def draw(batch: int, n: int, heads: int = H, width: int = D, seed: int = 3) -> Tensor:
    return torch.randn(batch, heads, n, width, generator=torch.Generator().manual_seed(seed))


def no_future(T: int, S: int, causal: bool = True) -> np.ndarray:
    """1 where a row may look."""
    return ~attention_reference.causal_mask(T, S).numpy() | (not causal)
