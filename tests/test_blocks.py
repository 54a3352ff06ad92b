"""The forms of a layer (`block`), against the same layers written out, and dropout."""

import math

import pytest
import torch
from helpers import training as tiny
from torch import Tensor

from rpecli.blocks import FORMS
from rpecli.proofs.model import decoding_error, dependence, hidden_states
from rpecli.train import loop
from rpecli.train.state import build_trainer, load_checkpoint, save_checkpoint

BLOCKS = pytest.mark.parametrize("block", FORMS)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centered = x - x.mean(-1, keepdim=True)
    return centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    bias = w.get(f"{name}.bias")
    return rms_norm(x, w[f"{name}.weight"]) if bias is None else layer_norm(x, w[f"{name}.weight"], bias)


def linear(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()))


def mlp(w: dict[str, Tensor], name: str, h: Tensor, block: str) -> Tensor:
    up = linear(w, f"{name}.up", h)
    if block == "llama":
        gate = linear(w, f"{name}.gate", h)
        return linear(w, f"{name}.down", gate / (1 + (-gate).exp()) * up)
    if block == "gpt2":  # gelu_new of the library transformers
        up = 0.5 * up * (1 + torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
    else:
        up = 0.5 * up * (1 + torch.erf(up / math.sqrt(2)))
    return linear(w, f"{name}.down", up)


def written_out(w: dict[str, Tensor], ids_T: Tensor, block: str, n_layer: int, n_head: int) -> Tensor:
    """The logits `[T, V]` of one sequence in float64, without positions, head by head and row by row."""
    w = {name: tensor.double() for name, tensor in w.items()}
    x_TxM = w["embedding.weight"][ids_T]
    D = x_TxM.shape[1] // n_head
    for n in range(n_layer):
        h_TxM = norm(w, f"blocks.{n}.norm1", x_TxM)
        q, k, v = (linear(w, f"blocks.{n}.attention.{part}", h_TxM) for part in "qkv")
        y_TxM = torch.zeros_like(x_TxM)
        for head in range(n_head):
            of = slice(head * D, (head + 1) * D)
            for i in range(len(ids_T)):
                weights = (k[: i + 1, of] @ q[i, of] / math.sqrt(D)).softmax(0)
                y_TxM[i, of] = weights @ v[: i + 1, of]
        x_TxM = x_TxM + linear(w, f"blocks.{n}.attention.o", y_TxM)
        x_TxM = x_TxM + mlp(w, f"blocks.{n}.mlp", norm(w, f"blocks.{n}.norm2", x_TxM), block)
    return norm(w, "norm", x_TxM) @ w.get("out.weight", w["embedding.weight"]).T


@BLOCKS
def test_a_model_is_its_layers_written_out(model_of, ids_of, block):
    model, ids = model_of("none", block=block), ids_of(1, 7)
    with torch.no_grad():
        for parameter in model.parameters():  # biases and norms away from 0 and 1
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    logits_TxV = model.head(hidden_states(model, ids))[0]
    expected_TxV = written_out(model.state(), ids[0], block, n_layer=2, n_head=4)
    torch.testing.assert_close(logits_TxV.double(), expected_TxV, atol=2e-5, rtol=1e-4)


@BLOCKS
@pytest.mark.parametrize("encoding", ["learned", "rope", "t5", "cope"])
def test_every_form_is_causal_and_decodes_as_the_full_pass(model_of, ids_of, block, encoding):
    model = model_of(encoding, block=block)
    assert not bool(dependence(model.train(), ids_of(1, 9)).triu(1).any())
    assert decoding_error(model.eval(), ids_of(2, 12), [5, 1, 6], None) < 2e-5


@pytest.mark.parametrize(("block", "in_layers"), [("gpt2", 0.02), ("llama", 0.02 * 0.9866)])  # 0.9866: cut at three deviations
def test_initial_values_are_those_of_the_table(model_of, block, in_layers):
    model = model_of("none", block=block, d_model=128)
    added = 0.02 / 2 if block == "gpt2" else in_layers  # two layers
    stds = {name: float(tensor.std()) for name, tensor in model.state().items() if tensor.dim() == 2}
    for name, std in stds.items():
        expected = added if name.endswith(("attention.o.weight", "mlp.down.weight")) else in_layers
        assert std == pytest.approx(expected, rel=0.05), name
    vectors = {name: tensor for name, tensor in model.state().items() if tensor.dim() == 1}
    assert {name.rsplit(".", 1)[-1] for name in vectors} == ({"weight", "bias"} if block == "gpt2" else {"weight"})
    for name, tensor in vectors.items():
        assert bool((tensor == (0 if name.endswith("bias") else 1)).all()), name
    if block == "llama":
        assert max(float(tensor.abs().max()) for tensor in model.state().values() if tensor.dim() == 2) <= 0.06


def test_the_output_of_gpt2_is_its_embedding(model_of):
    first, second = model_of("none", block="gpt2", seed=0), model_of("none", block="gpt2", seed=1)
    assert first.out.weight is first.embedding.weight
    assert "out.weight" not in first.state()
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    assert torch.equal(second.out.weight, first.embedding.weight)


@BLOCKS
def test_weights_of_a_seed_are_the_same_for_every_encoding(model_of, block):
    first, second = (model_of(encoding, block=block).state() for encoding in ("none", "t5"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def weights_after(trainer, steps: int) -> dict[str, Tensor]:
    while trainer.step < steps:
        loop.step(trainer)
    return {name: tensor.clone() for name, tensor in trainer.model.state().items()}


def test_dropout_is_of_the_step_and_in_training_only(tmp_path, ids_of):
    run = tiny.new_run(tmp_path, dropout=0.5)
    whole, same, without = (weights_after(tiny.trainer(dropout=p), 4) for p in (0.5, 0.5, 0.0))
    assert all(torch.equal(whole[name], same[name]) for name in whole)
    assert not all(torch.equal(whole[name], without[name]) for name in whole)
    stopped = tiny.trainer(dropout=0.5)
    weights_after(stopped, 2)
    save_checkpoint(stopped, run)
    torch.manual_seed(5)  # whatever the process drew before
    resumed = build_trainer(run.config, torch.device("cpu"))
    load_checkpoint(resumed, run)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights_after(resumed, 4).items())
    model = resumed.model.eval()
    assert torch.equal(hidden_states(model, ids_of(1, 5)), hidden_states(model, ids_of(1, 5)))


def test_half_of_what_is_added_is_dropped_and_the_rest_doubled(model_of):
    model = model_of("none", dropout=0.5)
    x = torch.ones(1000)
    dropped = model.blocks[0].train().drop(x)
    assert set(dropped.tolist()) == {0.0, 2.0}
    assert float(dropped.mean()) == pytest.approx(1, abs=0.15)
    assert torch.equal(model.blocks[0].eval().drop(x), x)


def test_swiglu_has_a_third_matrix(model_of):
    sizes = [sum(p.numel() for p in model_of("none", block=block).blocks[0].mlp.parameters()) for block in FORMS]
    M, W = 32, 4 * 32
    assert sizes == [2 * M * W, 2 * M * W + M + W, 3 * M * W]
