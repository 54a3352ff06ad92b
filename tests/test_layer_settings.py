"""Settings of layers beside the encoding: Canon layers, token shift, norms of queries and keys, loops, temperature by layer."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import training as tiny
from helpers.probes import batches_of, untrained_model
from torch import Tensor

from rpecli import titles
from rpecli.attention.blocks import BlockSizes
from rpecli.attention.cache import Cache
from rpecli.choice import canonical, split_layers
from rpecli.config.recipe import Recipe
from rpecli.mixing import Canon, TokenShift
from rpecli.model import LogitScale
from rpecli.probes import score_terms
from rpecli.probes.attention_weights import layer_inputs
from rpecli.proofs.model import COLUMNS, decoding_error, dependence, hidden_states, padding_error, shift_change
from rpecli.train import loop

SETTINGS: list[dict[str, Any]] = [
    {"canon": "ABCD"},
    {"canon": "ABCD", "block": "llama"},
    {"canon": "B"},
    {"canon": "C"},
    {"token_shift": "k"},
    {"token_shift": "kv", "canon": "B", "qk_norm": "plain"},
    {"qk_norm": "plain"},
    {"qk_norm": "gain"},
    {"loops": 3},
    {"loops": 2, "canon": "AD", "token_shift": "kv"},
    {"logit_scale": "stair"},
    {"logit_scale": "logn", "logit_scale_on": "unrotated"},
]
EVERY = pytest.mark.parametrize("keys", SETTINGS, ids=str)
ENCODINGS = pytest.mark.parametrize("encoding", ["rope+none", "t5", "fox"])


@EVERY
@ENCODINGS
def test_no_output_depends_on_a_later_token(model_of, ids_of, keys, encoding):
    size_TxT = dependence(model_of(encoding, **keys).train(), ids_of(1, 9))
    assert not bool(size_TxT.triu(1).any())
    assert bool((size_TxT.tril() > 0).equal(torch.ones(9, 9).tril() > 0))


@EVERY
@ENCODINGS
def test_decoding_equals_the_full_pass(model_of, ids_of, keys, encoding):
    model = model_of(encoding, **keys)
    for steps in ([1] * 12, [5, 1, 6]):
        assert decoding_error(model, ids_of(2, 12), steps) < 2e-5


@EVERY
@ENCODINGS
@pytest.mark.parametrize("where", COLUMNS)
def test_padding_anywhere_changes_nothing(model_of, ids_of, keys, encoding, where):
    assert padding_error(model_of(encoding, **keys), ids_of(3, 9), where) < 2e-5


@EVERY
def test_decoding_behind_padding_that_comes_late_equals_the_full_pass(model_of, ids_of, keys):
    model, ids = model_of("rope", **keys), ids_of(2, 10)
    padding = torch.zeros(2, 10, dtype=torch.bool)
    padding[0, 5:7] = True  # in the middle of the first row
    cache = Cache()
    states = [hidden_states(model, ids[:, part], padding_mask_BxT=padding[:, part], cache=cache) for part in
              (slice(0, 4), slice(4, 8), slice(8, 10))]  # fmt: skip
    whole = hidden_states(model, ids, padding_mask_BxT=padding)
    together = torch.cat(states, dim=1)
    torch.testing.assert_close(together[~padding], whole[~padding], atol=2e-5, rtol=0)


@EVERY
def test_what_is_asked_alone_is_what_it_is_among_all(model_of, ids_of, keys):
    model, ids = model_of("rope+t5", **keys), ids_of(2, 9)
    whole_BxTxM = hidden_states(model, ids)
    torch.testing.assert_close(hidden_states(model, ids, query_start=4), whole_BxTxM[:, 4:], atol=1e-5, rtol=0)
    index = torch.tensor([2, 7])
    some = hidden_states(model, ids, query_start=4, query_index_N=index)
    torch.testing.assert_close(some, whole_BxTxM[:, 4:].flatten(0, 1)[index], atol=1e-5, rtol=0)


@EVERY
def test_every_parameter_learns_and_the_others_start_as_without(model_of, ids_of, keys):
    model, plain = model_of("rope", **keys).train(), model_of("rope", block=keys.get("block", "plain"))
    model(ids_of(2, 9)).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for name, p in model.named_parameters() if name != "out.weight")
    own = model.state()
    assert all(torch.equal(tensor, own[name]) for name, tensor in plain.state().items())


@pytest.mark.parametrize("keys", [keys for keys in SETTINGS if "logit_scale" not in keys], ids=str)
def test_relative_encodings_stay_shift_invariant(model_of, ids_of, keys):
    assert shift_change(model_of("rope", **keys), ids_of(2, 9), 50) < 1e-4


def test_a_canon_layer_is_a_depthwise_convolution_with_a_residual():
    canon, x_BxTxM = Canon(6), torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0))
    canon.init(torch.Generator().manual_seed(1))
    kernel_Mx1xK = canon.weight_KxM.detach().flip(0).T[:, None]  # the last column of a convolution is the token itself
    expected_BxMxT = F.conv1d(x_BxTxM.transpose(1, 2), kernel_Mx1xK, padding=3, groups=6)[..., :9]
    with torch.no_grad():
        torch.testing.assert_close(canon(x_BxTxM, x_BxTxM), x_BxTxM + expected_BxMxT.transpose(1, 2))
    default = torch.nn.Conv1d(600, 600, 4, groups=600, bias=False).weight.detach()  # of the convolution that the paper takes
    big = Canon(600)
    big.init(torch.Generator().manual_seed(1))
    assert float(default.abs().max()) <= 0.5
    assert 0.49 < float(big.weight_KxM.detach().abs().max()) <= 0.5
    assert float(big.weight_KxM.detach().std()) == pytest.approx(0.5 / 3**0.5, rel=0.05)


def test_token_shift_written_out():
    shift, generator = TokenShift(8, 2), torch.Generator().manual_seed(0)
    shift.init(generator)
    h_BxTxM, k_BxHxTxD = torch.randn(1, 5, 8, generator=generator), torch.randn(1, 2, 5, 3, generator=generator)
    with torch.no_grad():
        out_BxHxTxD = shift(h_BxTxM, k_BxHxTxD, k_BxHxTxD)
    for head in range(2):
        for t in range(5):
            share = 1 / (1 + math.exp(-float(h_BxTxM[0, t] @ shift.weight_HxM[head].detach())))
            previous = k_BxHxTxD[0, head, t - 1] if t else torch.zeros(3)
            torch.testing.assert_close(out_BxHxTxD[0, head, t], share * previous + (1 - share) * k_BxHxTxD[0, head, t])


def rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def test_without_a_gain_a_norm_before_the_rotation_is_one_after_it(model_of):
    """A rotation keeps the length of a vector, so there is one setting for both; a gain behind the rotation would break i-j."""
    q, k = torch.randn(2, 1, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    from rpecli.encoding import QueryKey, build

    rope = build("rope", d_model=32, n_head=4)
    positions = torch.arange(7)[None]
    before = rope.rotate(QueryKey.last(rms(q), rms(k), positions))
    after = [rms(x) for x in rope.rotate(QueryKey.last(q, k, positions))]
    torch.testing.assert_close(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


def test_normed_queries_and_keys_have_unit_mean_square(model_of, ids_of):
    loaded = untrained_model("rope", qk_norm="plain")
    for layer in layer_inputs(loaded, batches_of(loaded)[0]):
        for x in (layer.q_BxHxTxD, layer.k_BxHxTxD):
            torch.testing.assert_close(x.square().mean(-1), torch.ones(x.shape[:-1]), atol=1e-3, rtol=0)


def test_looped_layers_are_layers_with_equal_weights(model_of, ids_of):
    looped, stacked = model_of("rope", n_layer=1, loops=3), model_of("rope", n_layer=3)
    state = looped.state()
    stacked.load_state(
        {name: state[name.replace("blocks.1", "blocks.0").replace("blocks.2", "blocks.0")] for name in stacked.state()}
    )
    torch.testing.assert_close(hidden_states(looped, ids_of(2, 9)), hidden_states(stacked, ids_of(2, 9)))


@EVERY
def test_probes_see_the_queries_and_keys_that_the_model_uses(keys):
    loaded = untrained_model("none", **keys)
    loaded.model.block_sizes = BlockSizes(cells=1 << 20)
    batch, outputs = batches_of(loaded)[0], []
    hooks = [
        block.attention.o.register_forward_pre_hook(lambda _, inputs: outputs.append(inputs[0])) for block in loaded.model.blocks
    ]
    values = []
    for block in loaded.model.blocks:
        original = block.attention.projected

        def projected(*arguments, _original=original):
            result = _original(*arguments)
            values.append(result[2])
            return result

        block.attention.projected = projected
    layers = layer_inputs(loaded, batch)
    for hook in hooks:
        hook.remove()
    T = batch.inputs_BxT.shape[1]
    used = values[1::2]  # the probe asks for them first, the model second
    assert len(layers) == len(outputs) == len(used) == loaded.config.n_layer * loaded.config.loops
    for layer, output_BxTxM, v_BxHxTxD in zip(layers, outputs, used, strict=True):
        weights = layer.weights(0, T)
        torch.testing.assert_close((weights @ v_BxHxTxD).transpose(1, 2).flatten(2), output_BxTxM, atol=1e-4, rtol=1e-4)


def test_score_terms_are_for_scores_that_are_products():
    assert score_terms.adds_positions(untrained_model("learned").model)
    for keys in ({"canon": "A"}, {"token_shift": "k"}, {"qk_norm": "plain"}):
        assert not score_terms.adds_positions(untrained_model("learned", **keys).model)


def test_the_stair_is_llama_4s():
    scale = LogitScale("stair", 2, 8)
    q, n_keys = torch.ones(1, 2, 4, 1), torch.tensor([[1, 7, 8, 40]])
    expected = [1 + 0.1 * math.log(1 + math.floor(n / 8)) for n in (1, 7, 8, 40)]
    assert scale(q, n_keys)[0, 0, :, 0].tolist() == pytest.approx(expected)
    assert expected[:3] == [1.0, 1.0, 1 + 0.1 * math.log(2)]


def test_a_temperature_of_unrotated_layers_or_of_evaluation_alone(model_of, ids_of):
    ids = ids_of(1, 60)  # beyond the training length of 16, where logn is more than 1

    def states(encoding: str, training: bool = False, **keys: str) -> Tensor:
        return hidden_states(model_of(encoding, **keys).train(training), ids)

    logn = {"logit_scale": "logn"}
    assert torch.equal(states("rope", **logn, logit_scale_on="unrotated"), states("rope"))
    assert torch.equal(states("none", **logn, logit_scale_on="unrotated"), states("none", **logn))
    mixed = [states("rope+none", **keys) for keys in ({}, logn, {**logn, "logit_scale_on": "unrotated"})]
    assert not any(torch.equal(one, other) for one, other in zip(mixed, mixed[1:] + mixed[:1], strict=True))
    only = {**logn, "logit_scale_in": "evaluation"}
    assert torch.equal(states("rope", training=True, **only), states("rope", training=True))
    assert torch.equal(states("rope", **only), states("rope", **logn))


def test_more_loops_in_evaluation_are_a_way_of_their_own(tmp_path, rpe, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tiny.trained_run(tmp_path / "runs", loops=2, n_layer=1)
    own, more = rpe("eval", "--jobs", 0, "--lengths", "4,8"), rpe("eval", "--jobs", 0, "--lengths", "4,8", "--eval-loops", 4)
    assert (own.code, more.code) == (0, 0)
    assert [(line["length"], line.get("loops")) for line in run.evaluations()] == [(4, None), (8, None), (4, 4), (8, 4)]
    assert {line["nll"] for line in run.evaluations()[:2]}.isdisjoint({line["nll"] for line in run.evaluations()[2:]})
    assert rpe("eval", "--jobs", 0, "--lengths", "4,8", "--eval-loops", 2).code == 0  # as in training: nothing is left to do
    assert len(run.evaluations()) == 4
    report = rpe("report")
    assert "with 4 loops" in " ".join(report.out.split())


@pytest.mark.parametrize(("text", "places"), [("", ""), ("A", "A"), ("dca", "ACD"), ("A,C", "AC"), ("ABCD", "ABCD")])
def test_places_of_canon_layers_are_letters(text, places):
    assert Recipe(canon=text).canon == places


def test_an_unknown_place_says_which_there_are():
    with pytest.raises(ValueError, match="'E' is no place of a Canon layer: write any of A, B, C and D"):
        Recipe(canon="AE")


@pytest.mark.parametrize(
    ("text", "parts", "spelled"),
    [
        ("3*rope+none", ["rope"] * 3 + ["none"], "3*rope+none"),
        ("none+3*rope", ["none"] + ["rope"] * 3, "none+3*rope"),
        ("rope+rope+none", ["rope", "rope", "none"], "2*rope+none"),
        ("1*rope", ["rope"], "rope"),
        ("2 * rope:base=1e+4 + none", ["rope:base=1e+4"] * 2 + ["none"], "2*rope:base=1e+4+none"),
        ("5*rope:base=100+rope:base=1e6", ["rope:base=100"] * 5 + ["rope:base=1e6"], "5*rope:base=100+rope:base=1e6"),
        ("2*rope+2*rope", ["rope"] * 4, "4*rope"),
        ("60*rope+60*rope", ["rope"] * 120, "99*rope+21*rope"),
    ],
)
def test_a_number_repeats_an_encoding_over_layers(text: str, parts: list[str], spelled: str) -> None:
    assert split_layers(text) == parts
    assert canonical(text) == spelled
    assert canonical(spelled) == spelled
    assert split_layers(spelled) == parts


def test_repeated_layers_in_a_model_a_name_and_a_path(model_of, tmp_path):
    model = model_of("3*rope+none", n_layer=8)
    assert [type(encoding).__name__ for encoding in model.current] == (["RoPE"] * 3 + ["NoPE"]) * 2
    assert titles.display("encodings", "3*rope+none") == "3x RoPE + NoPE"
    assert titles.display("encodings", "2*rope:then=none+t5") == "2x RoPE + T5 bias, then 2x NoPE + T5 bias"
    assert tiny.config(encoding="3*rope+none").id.startswith("copy-3-rope-none-s0-")
    path = tmp_path / "a+b" / "mine.py"
    path.parent.mkdir()
    path.write_text("")
    assert split_layers(canonical(f"2*{path}+none")) == [canonical(str(path))] * 2 + ["none"]


@pytest.mark.parametrize(
    "keys", [{"canon": "ABCD"}, {"token_shift": "kv"}, {"qk_norm": "gain"}, {"block": "llama", "canon": "D"}], ids=str
)
def test_bfloat16_trains_near_float32(keys):
    losses = []
    for dtype in ("float32", "bfloat16"):
        trainer = tiny.trainer(dtype=dtype, encoding="rope", **keys)
        for _ in range(10):
            loop.step(trainer)
        losses.append(float(torch.stack(trainer.losses).mean()))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
