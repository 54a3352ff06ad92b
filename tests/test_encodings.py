"""Every encoding against its formula written another way, and against what it claims of itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import reference, reference_position, reference_recent
from helpers.encodings import BOTH, D, H, M, build, build_or_skip, draw, model_in, move_parameters, positions_of, visible
from torch import Tensor

from rpecli import catalog, encoding
from rpecli.attention.reference import scores
from rpecli.choice import ChoiceError
from rpecli.proofs.model import shift_change

reference.PAIR.update(reference_position.PAIR | reference_recent.PAIR)


@BOTH
@pytest.mark.parametrize("choice", reference.PAIR)
@pytest.mark.parametrize(("kind", "n"), [("start", 7), ("start", 48), ("offset", 7), ("scattered", 7), ("scattered", 24)])
def test_logits_follow_the_formula_pair_by_pair(choice, kind, n, causal):
    module, batch = move_parameters(build_or_skip(choice, causal)), 2 if n == 7 else 1
    q, k, positions = draw(batch, n, seed=1), draw(batch, n, seed=2), positions_of(kind, n)
    with torch.no_grad():
        logits = scores(module, q, k, positions=positions).numpy() * visible(n, n, causal)
    np.testing.assert_allclose(logits, reference.logits(choice, module, q, k, positions.expand(batch, n)), atol=1e-4, rtol=1e-6)


@BOTH
@pytest.mark.parametrize("choice", reference.PAIR)
def test_the_last_rows_alone_have_the_logits_they_have_among_all(choice, causal):
    module, q, k = move_parameters(build_or_skip(choice, causal)), draw(2, 3, seed=1), draw(2, 7, seed=2)
    positions_2xS = torch.cat([positions_of("scattered", 7), positions_of("offset", 7)])
    with torch.no_grad():
        logits = scores(module, q, k, positions=positions_2xS).numpy() * visible(3, 7, causal)
    np.testing.assert_allclose(logits, reference.logits(choice, module, q, k, positions_2xS), atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("choice", reference.EMBED)
@pytest.mark.parametrize("kind", ["start", "offset", "scattered"])
def test_the_vector_added_to_a_token_follows_the_formula(choice, kind):
    module, positions = move_parameters(build(choice)), positions_of(kind, 64)
    x = torch.randn(2, 64, M, generator=torch.Generator().manual_seed(1))
    row, options = reference.EMBED[choice]
    with torch.no_grad():
        added = module.embed(x, positions, torch.zeros(2, 64, dtype=torch.long)) - x
        expected = np.array([row(module, i, **options) for i in positions[0].tolist()])
    np.testing.assert_allclose(added.numpy(), np.stack([expected, expected]), atol=2e-5)


@pytest.mark.parametrize("n_head", range(1, 13))
def test_alibi_has_the_papers_slopes_for_any_number_of_heads(n_head):
    module = build("alibi", d_model=4 * n_head, n_head=n_head)
    bias_HxS = module.by_distance(torch.arange(5.0))
    expected = [[-reference.slope(h, n_head) * d for d in range(5)] for h in range(n_head)]
    np.testing.assert_allclose(bias_HxS.numpy(), expected, rtol=1e-6)


def test_alibi_of_six_heads_follows_the_formula_pair_by_pair():
    module, q, k = build("alibi", d_model=96, n_head=6), draw(1, 9, 6, seed=1), draw(1, 9, 6, seed=2)
    logits = scores(module, q, k).numpy() * visible(9, 9)
    np.testing.assert_allclose(logits, reference.logits("alibi", module, q, k, torch.arange(9)[None]), atol=1e-5)


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (32, 1024), (16, 64), (64, 256), (7, 20), (2, 2)])
def test_t5_buckets_equal_exact_arithmetic(buckets, max_distance):
    module = build(f"t5:buckets={buckets}:max_distance={max_distance}")
    index = module.bucket(torch.arange(-3, 2100)).tolist()
    assert index[:3] == [0, 0, 0]
    assert index[3:] == [reference.bucket(d, buckets, max_distance) for d in range(2100)]


def test_the_two_pairings_of_rope_are_one_model_up_to_the_order_of_channels():
    q, k = draw(1, 9, seed=1), draw(1, 9, seed=2)
    order = torch.arange(D).view(D // 2, 2).T.flatten()
    half = scores(build("rope:pairing=half"), q[..., order], k[..., order])
    torch.testing.assert_close(half, scores(build("rope"), q, k), atol=1e-5, rtol=0)


def test_transformer_xl_shares_its_query_biases_across_layers_and_not_its_matrix():
    first, second = encoding.for_layers("transformer-xl", encoding.Shape(M, H), 2)
    assert first.u_HxD is second.u_HxD
    assert first.v_HxD is second.v_HxD
    assert not torch.equal(first.w_HxDxM, second.w_HxDxM)


def fire_with(seed: int) -> encoding.Encoding:
    """Weights on either side of every case: units that bend between 0 and 1, that are always on, that are always off."""
    module = build("fire", max_train_length=16)
    with torch.no_grad():
        for parameter in module.mlp.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return module


def test_the_network_of_fire_has_inputs_between_0_and_1_only_however_long_the_sequence(monkeypatch):
    module, inputs, positions = build("fire", max_train_length=16), [], torch.arange(400)[None]
    monkeypatch.setattr(module, "network", lambda x_N: inputs.append(x_N.detach()) or torch.zeros(H, len(x_N)))
    module.bias(positions, positions)
    assert float(inputs[0].min()) == 0
    assert 0.99 < float(inputs[0].max()) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_fire_is_its_network_with_the_straight_units_added_up(seed):
    module, x_N = fire_with(seed), torch.linspace(0, 1, 500)
    weight_HxN = torch.randn(H, 500, generator=torch.Generator().manual_seed(9))
    short, whole = module.network(x_N, chunk=64), module.mlp(x_N[:, None]).T
    torch.testing.assert_close(short, whole, atol=2e-5, rtol=0)
    torch.testing.assert_close(torch.func.vmap(module.network)(x_N[None])[0], whole, atol=2e-5, rtol=0)
    leaves = list(module.mlp.parameters())
    gradients, expected = (torch.autograd.grad((y_HxN * weight_HxN).sum(), leaves) for y_HxN in (short, whole))
    for gradient, expected_gradient in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, atol=1e-3, rtol=1e-4)


INITIAL = {  # choice: (parameter, the standard deviation its file states)
    "learned": ("table_RxM", 1.0),
    "learned:std=0.02": ("table_RxM", 0.02),
    "t5": ("table_NxH", M**-0.5),
    "transformer-xl": ("w_HxDxM", 0.02),
    "shaw": ("table_NxD", D**-0.5),
}


@pytest.mark.parametrize("choice", INITIAL)
def test_learned_parameters_start_as_their_file_says(choice):
    name, std = INITIAL[choice]
    initial = getattr(build(choice), name).detach()
    assert float(initial.std()) == pytest.approx(std, rel=0.15)
    assert abs(float(initial.mean())) < 0.2 * std


def spread(model_of, choice: str, shift: int, causal: bool) -> float:
    """The largest change of a model's logits when every position moves by `shift`."""
    model, ids = model_in(model_of, choice, causal), torch.arange(12)[None] % 7
    move_parameters(model.encodings[0])
    return shift_change(model, ids, shift)


# Options that change whether an encoding is shift invariant
CLAIMS = [
    "rope:scaling=yarn",
    "rope:scaling=yarn:factor=4",
    "rope:scaling=dynamic:factor=4",
    "abacus:over=fire",
    "abacus:over=t5",
    "rope:pairing=half:fraction=0.5",
    "rerope:leak=3",
    "pope:start=uniform",
    "dape:kind=v2:over=sandwich",
    "rope:window=5",
    "rope:chunk=5",
    "rope:learned=true",
    "p-rope:cut=trained:taper=cos",
    "coca:form=code",
    "bam:location=true",
    "fope:learned=true",
    "grape-a:gate=key",
    "grape-m:step=softplus",
]
CHOICES = [*catalog.names("encodings"), *CLAIMS]


@BOTH
@pytest.mark.parametrize("shift", [1, 64, 500, 10**5, 10**6, 2**24 + 1])
@pytest.mark.parametrize("choice", CHOICES)
def test_moving_every_position_changes_nothing_where_an_encoding_says_so(model_of, choice, shift, causal):
    if not build_or_skip(choice, causal).shift_invariant:
        pytest.skip("makes no such claim")
    assert spread(model_of, choice, shift, causal) < 1e-5  # at most 1.5e-6 was measured


@BOTH
@pytest.mark.parametrize("choice", CHOICES)
def test_moving_every_position_changes_the_logits_where_an_encoding_says_so(model_of, choice, causal):
    if build_or_skip(choice, causal).shift_invariant:
        pytest.skip("claims the opposite")
    assert spread(model_of, choice, 61, causal) > 0.01  # no multiple of a group of positions


def test_an_encoding_is_described(encoding_name):
    path = catalog.find("encodings", encoding_name)
    cls = catalog.load_class("encodings", encoding_name, encoding.Encoding)
    assert cls.group in catalog.GROUPS
    assert cls.paper
    assert cls.extrapolation
    assert catalog.summary(path).endswith(".")
    assert catalog.summary(path)[0].isupper()
    assert "_i" in (catalog.load(path).__doc__ or ""), "the docstring gives the formula"


def test_the_group_read_without_importing_is_the_one_of_the_class(encoding_name):
    cls = catalog.load_class("encodings", encoding_name, encoding.Encoding)
    read = catalog.class_constants(catalog.find("encodings", encoding_name)).get("group", encoding.Encoding.group)
    assert read == cls.group


def test_absolute_encodings_add_to_the_embedding_and_relative_ones_to_the_score(encoding_name):
    module = build(encoding_name)
    on_scores = any(encoding.overrides(module, hook) for hook in ("rotate", "bias", "score"))
    expected = {"APE": (True, False), "RPE": (False, True), "none": (False, False), "content": (False, True)}[module.group]
    embeds = encoding.overrides(module, "embed") and not encoding.overrides(module, "relocate")  # places within a segment
    assert (embeds, on_scores) == expected


def test_positions_of_one_row_serve_every_row(encoding_name):
    module, q, k = move_parameters(build(encoding_name)), draw(2, 9, seed=1), draw(2, 9, seed=2)
    x = torch.randn(2, 9, M, generator=torch.Generator().manual_seed(4))
    one, two = torch.arange(5, 14), torch.arange(5, 14).expand(2, 9)
    with torch.no_grad():
        torch.testing.assert_close(scores(module, q, k, x, one), scores(module, q, k, x, two))
        ids = torch.zeros(2, 9, dtype=torch.long)
        torch.testing.assert_close(module.embed(x, one[None], ids), module.embed(x, two, ids))


def test_one_instance_serves_all_layers_where_an_encoding_is_shared(encoding_name):
    layers = encoding.for_layers(encoding_name, encoding.Shape(M, H, 16), 3)
    assert len(layers) == 3
    assert (layers[0] is layers[2]) == layers[0].shared


def probe(module: encoding.Encoding, n: int = 20) -> Tensor:
    """A number that every parameter moves: all logits the mask leaves and all embeddings, randomly weighted."""
    q, k, x = draw(1, n, seed=1).double(), draw(1, n, seed=2).double(), draw(1, n, 1, M, seed=4)[0].double()
    past, weight = torch.from_numpy(visible(n, n, module.shape.causal)), draw(1, n, H, n, seed=5).double()
    ids = torch.zeros(1, n, dtype=torch.long)
    embedded = (module.embed(x, torch.arange(n)[None], ids) * x.flip(1)).sum()
    return embedded + (scores(module, q, k, x) * weight)[..., past].sum()


LEARNING = [*catalog.names("encodings"), "alibi:learned=true", "kerple-power:weighted=true", "pope:start=uniform",
            "mlp-bias:norm=true:log=true", "abacus:over=kerple-log", "rope:learned=true",
            "rope:learned=true:per_head=true", "bam:location=true:shape=linear", "fope:learned=true",
            "grape-a:gate=query"]  # fmt: skip


@BOTH
@pytest.mark.parametrize("choice", LEARNING)
def test_gradients_of_learned_parameters_equal_finite_differences(choice, causal, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # encodings step up to float32: here, to float64
    module = move_parameters(build_or_skip(choice, causal, max_train_length=8).double().train(), 0.1)
    parameters = list(module.parameters())
    if not parameters:
        pytest.skip("learns nothing")
    gradients = torch.autograd.grad(probe(module), parameters)
    for seed, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
        way = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with torch.no_grad():
            parameter += 1e-6 * way
            above = float(probe(module))
            parameter -= 2e-6 * way
            below = float(probe(module))
            parameter += 1e-6 * way
        assert float((gradient * way).sum()) == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-7)
        assert above != below


def rows(module: encoding.Encoding, positions: Tensor) -> Tensor:
    x = torch.zeros(1, len(positions), module.shape.d_model)
    return module.embed(x, positions[None], torch.zeros(1, len(positions), dtype=torch.long)).detach()[0]


def test_rows_past_the_table_are_the_same_whatever_length_is_evaluated():
    module = build("learned").eval()
    long = rows(module, torch.arange(2000))
    torch.testing.assert_close(rows(module, torch.arange(700)), long[:700], rtol=0, atol=0)
    torch.testing.assert_close(rows(module, torch.tensor([1999, 513, 512])), long[[1999, 513, 512]], rtol=0, atol=0)


def test_rows_past_the_table_are_drawn_like_those_in_it():
    module = build("learned:std=0.5").eval()
    blocks = rows(module, torch.arange(2048)).view(4, -1)
    np.testing.assert_allclose(blocks.std(dim=1).numpy(), 0.5, rtol=0.02)
    assert float(torch.corrcoef(blocks).fill_diagonal_(0).abs().max()) < 0.03


def test_evaluating_far_past_the_table_changes_no_parameter():
    module = build("learned").eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    rows(module, torch.arange(3000))
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_untrained_counts_the_positions_that_training_never_touched():
    module = build("learned").train()
    assert module.untrained(torch.arange(12)[None]) == 12
    rows(module, torch.arange(5, 10))
    assert module.untrained(torch.arange(12)[None]) == 7
    rows(module, torch.tensor([511]))  # the last row of the table
    assert module.untrained(torch.tensor([[5, 9, 510, 511, 512, 3000], [5, 5, 5, 5, 5, 4]])) == 4


def test_evaluation_touches_no_row():
    module = build("learned").eval()
    rows(module, torch.arange(5))
    assert module.untrained(torch.arange(5)[None]) == 5


def test_training_from_an_offset_touches_the_rows_it_stands_on(model_of, ids_of):
    model = model_of("learned", max_train_length=64).train()
    model(ids_of(2, 8), torch.arange(37, 45))
    assert model.encodings[0].touched_R.nonzero().flatten().tolist() == list(range(37, 45))


def test_rows_that_training_does_not_stand_on_get_no_gradient(model_of, ids_of):
    model = model_of("learned", max_train_length=64).train()
    model.head(model(ids_of(2, 8))).square().sum().backward()
    moving_R = model.encodings[0].table_RxM.grad.abs().sum(dim=1) > 0
    assert moving_R.nonzero().flatten().tolist() == list(range(8))


def test_a_learned_table_reloaded_into_another_seed_has_the_rows_it_was_saved_with(model_of):
    first, second = model_of("learned", seed=0), model_of("learned", seed=1)
    far = torch.tensor([3, 700, 1500])
    assert not torch.equal(rows(first.encodings[0], far), rows(second.encodings[0], far))
    second.load_state(first.state())
    assert torch.equal(rows(first.encodings[0], far), rows(second.encodings[0], far))


def test_parameters_that_are_all_trained_leave_no_position_untrained(encoding_name):
    if encoding_name == "learned":
        pytest.skip("has rows of its own for each position")
    assert build(encoding_name).untrained(torch.arange(5000)[None]) == 0


def test_the_width_that_an_error_names_is_accepted():
    assert build("rope", d_model=16, n_head=4).shape.d_head == 4
    assert build("sinusoidal", d_model=10, n_head=1)


def test_hyphens_and_underscores_name_the_same_encoding():
    assert type(build("transformer-xl")) is type(build("transformer_xl"))
    assert build("t5:max-distance=99").max_distance == 99


OWN = '''"""Twice the score of the token itself."""
import torch
from rpecli.encoding import DistanceBias
class Own(DistanceBias):
    def __init__(self, shape, *, gain: float = 2.0):
        super().__init__(shape)
        self.gain = gain
    def by_distance(self, distance):
        return (self.gain * (distance == 0)).expand(self.shape.n_head, *distance.shape)
'''


def test_an_encoding_of_ones_own_works_by_path(tmp_path: Path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    q, k = draw(1, 5, seed=1), draw(1, 5, seed=2)
    logits = scores(build(f"{path}:gain=3"), q, k) - scores(build("none"), q, k)
    torch.testing.assert_close(logits, 3 * torch.eye(5).expand(1, H, 5, 5), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def broken(:\n", ["SyntaxError"]),
        ("import no_such_module_anywhere\n", ["ModuleNotFoundError", "no_such_module_anywhere"]),
        ("raise RuntimeError('half written')\n", ["RuntimeError", "half written"]),
        ("x = 1\n", ["exactly one subclass of Encoding", "defines: none"]),
        (OWN + "class Other(DistanceBias): pass\n", ["exactly one subclass of Encoding", "Own", "Other"]),
    ],
)
def test_a_file_that_does_not_load_is_an_error_that_names_it(tmp_path: Path, source, words):
    path = tmp_path / "wrong.py"
    path.write_text(source)
    for _ in range(2):  # a second try must not find the half-loaded module
        with pytest.raises(ChoiceError) as error:
            build(str(path))
        assert all(word in str(error.value) for word in [str(path), *words])
