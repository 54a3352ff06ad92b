"""Encodings as the tests build them: seeded, moved away from their initial values, in either direction; and their inputs."""

import numpy as np
import pytest
import torch
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.attention.reference import causal_mask
from rpecli.choice import parse_choice
from rpecli.encoding import Encoding, QueryKey
from rpecli.model import Transformer

M, H, D = 64, 4, 16
BOTH = pytest.mark.parametrize("causal", [True, False], ids=["causal", "bidirectional"])


def build(choice: str, max_train_length: int = 32, causal: bool = True, **shape: int) -> Encoding:
    torch.manual_seed(0)
    return encoding.build(choice, **{"d_model": M, "n_head": H, **shape}, max_train_length=max_train_length, causal=causal)


def skip_one_way(choice: str, causal: bool) -> None:
    """Skips a test of both directions if the encoding is not defined for one of them."""
    name = parse_choice(choice)[0]
    if not causal and catalog.load_class("encodings", name, Encoding).causal_only:
        pytest.skip("is not defined for bidirectional attention")


def build_or_skip(choice: str, causal: bool, **options: int) -> Encoding:
    skip_one_way(choice, causal)
    return build(choice, causal=causal, **options)


def model_in(model_of, choice: str, causal: bool, **keys: object) -> Transformer:
    """A small model that attends in one or both directions, or a skip."""
    skip_one_way(choice, causal)
    return model_of(choice, attention="causal" if causal else "bidirectional", **keys)


def move_parameters(module: Encoding, size: float = 0.5) -> Encoding:
    """Moves parameters away from their initial values, whose zeros and ones would hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return module


def positions_of(kind: str, n: int) -> Tensor:
    """`[1, n]` positions from 0, from 100, or scattered."""
    if kind == "scattered":
        return torch.from_numpy(np.sort(np.random.default_rng(n).choice(200, n, replace=False)))[None]
    return torch.arange(n)[None] + {"start": 0, "offset": 100}[kind]


def draw(batch: int, n: int, heads: int = H, width: int = D, seed: int = 3) -> Tensor:
    return torch.randn(batch, heads, n, width, generator=torch.Generator().manual_seed(seed))


def query_key(q: Tensor, k: Tensor) -> QueryKey:
    """Queries and keys at positions 0, 1, ..."""
    return QueryKey.last(q, k, torch.arange(k.shape[2])[None])


def visible(T: int, S: int, causal: bool = True) -> np.ndarray:
    """1 where a row may look."""
    return ~causal_mask(T, S).numpy() | (not causal)
