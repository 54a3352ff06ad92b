"""Encodings against the pip packages that have them too, where these are installed (`pip install -e .[dev]`)."""

import importlib.util
import warnings
from types import ModuleType

import pytest
import torch
from helpers.encodings import M, build, draw, move_parameters

from rpecli import encoding
from rpecli.attention.reference import causal_mask, scores

N = 40


def library(name: str) -> ModuleType:
    if importlib.util.find_spec(name.split(".")[0]) is None:
        pytest.skip(f"{name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports in turn
        return importlib.import_module(name)


def causal(scores: torch.Tensor) -> torch.Tensor:
    return scores.detach().masked_fill(causal_mask(N, N), 0.0)


def same_scores(choice: str, module: encoding.Encoding, q: torch.Tensor, k: torch.Tensor) -> None:
    """`q`, `k` as the library rotated them, against the scores of the same draws here."""
    logits = scores(module, draw(2, N, seed=1), draw(2, N, seed=2))
    expected = q @ k.transpose(-1, -2) * module.shape.scale
    torch.testing.assert_close(causal(logits), causal(expected), atol=1e-4, rtol=0, msg=choice)


def same_bias(module: encoding.DistanceBias, bias_HxTxS: torch.Tensor) -> None:
    positions = torch.arange(N)[None]
    bias = module.bias(positions, positions)[0]
    compared = causal if module.shape.causal else torch.Tensor.detach
    torch.testing.assert_close(compared(bias), compared(bias_HxTxS), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("choice", "options"),
    [
        ("rope", {"dim": 16}),
        ("rope:base=500", {"dim": 16, "theta": 500}),
        ("rope:fraction=0.5", {"dim": 8}),
        ("rope:scaling=pi:factor=4", {"dim": 16, "interpolate_factor": 4.0}),
        ("rope:scaling=ntk:factor=4", {"dim": 16, "theta_rescale_factor": 4.0}),
    ],
)
def test_rope_is_that_of_rotary_embedding_torch(choice, options):
    peer = library("rotary_embedding_torch").RotaryEmbedding(**options)
    rotated = (peer.rotate_queries_or_keys(draw(2, N, seed=seed)) for seed in (1, 2))
    same_scores(choice, build(choice), *rotated)


def test_xpos_is_that_of_rotary_embedding_torch():
    peer = library("rotary_embedding_torch").RotaryEmbedding(dim=16, use_xpos=True)
    same_scores("xpos", build("xpos"), *peer.rotate_queries_and_keys(draw(2, N, seed=1), draw(2, N, seed=2)))


def test_pope_is_that_of_x_transformers():
    peer, module = library("x_transformers.x_transformers"), move_parameters(build("pope"))
    polar = peer.PolarEmbedding(16, 4)
    polar.learned_bias.data.copy_(module.bias_HxD.data[:, None])
    freqs, bias = polar(torch.arange(N))
    q, k = peer.apply_polar_pos_emb(draw(2, N, seed=1), freqs), peer.apply_polar_pos_emb(draw(2, N, seed=2), freqs + bias)
    same_scores("pope", module, q, k)


@pytest.mark.parametrize("heads", [4, 6])
@pytest.mark.parametrize("one_way", [True, False])
def test_alibi_is_that_of_x_transformers(heads, one_way):
    peer = library("x_transformers.x_transformers").AlibiPositionalBias(heads)
    same_bias(build("alibi", causal=one_way, n_head=heads, d_model=16 * heads), peer(N, N))


@pytest.mark.parametrize("one_way", [True, False])
def test_t5_is_that_of_x_transformers(one_way):
    options = {"num_buckets": 16, "max_distance": 30}
    peer = library("x_transformers.x_transformers").RelativePositionBias(scale=1, causal=one_way, heads=4, **options)
    module = build("t5:buckets=16:max_distance=30", causal=one_way)
    module.table_NxH.data.copy_(peer.relative_attention_bias.weight.data)
    same_bias(module, peer(N, N))


@pytest.mark.parametrize("log", [True, False])
def test_mlp_bias_is_that_of_x_transformers(log):
    peer = library("x_transformers.x_transformers").DynamicPositionBias(M // 4, heads=4, depth=2, log_distance=log, norm=True)
    module = build(f"mlp-bias:norm=true:log={str(log).lower()}", causal=False)
    layers = [*peer.mlp[0], *peer.mlp[1], peer.mlp[2]]
    for layer, peer_layer in zip(module.mlp, layers, strict=True):
        if isinstance(layer, torch.nn.LayerNorm):  # its first one has another name for its weight, and no bias
            layer.weight.data.copy_(getattr(peer_layer, "weight", getattr(peer_layer, "gamma", None)).data)
        elif isinstance(layer, torch.nn.Linear):
            layer.load_state_dict(peer_layer.state_dict())
    same_bias(module, peer(N, N))


def test_row_gates_are_those_of_x_transformers():
    peer = library("x_transformers.x_transformers").PerRowDataDependentAlibi(M, heads=4)
    module, x = build("row-gates"), draw(2, N, heads=1, width=M, seed=4)[:, 0]
    module.gates.load_state_dict({"weight": peer.to_forget_gates[0].weight.data})
    zero = torch.zeros(2, 4, N, 16)
    torch.testing.assert_close(causal(scores(module, zero, zero, x)), causal(peer(x)), atol=1e-4, rtol=0)
