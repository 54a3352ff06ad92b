"""rpe from Python: what it exports, attention in place of PyTorch's, runs that are those of the command, data frames, errors."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import rpecli.api as rpe
from rpecli import catalog
from rpecli.attention import reference
from rpecli.encoding import overrides

ROOT = Path(__file__).resolve().parents[1]
TINY = {"steps": 30, "length": 4, "tokens": 256, "d_model": 16, "n_head": 2, "n_layer": 1, "warmup": 5, "samples": 32}


def qkv(T: int = 9, S: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 4, T, 16), torch.randn(2, 4, S, 16), torch.randn(2, 4, S, 16)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> rpe.Run:
    return rpe.train("copy:symbols=4", "rope", seed=3, runs=tmp_path_factory.mktemp("api") / "runs", device="cpu", **TINY)


def test_everything_exported_is_documented() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in rpe.__all__:
        assert inspect.getdoc(getattr(rpe, name)), name
        assert re.search(rf"\b{name}\b", page), f"docs/python.md does not name {name}"


def test_attention_without_an_encoding_is_that_of_pytorch() -> None:
    q, k, v = qkv()
    for causal in (True, False):
        none = rpe.encoding("none", d_model=64, n_head=4, causal=causal)
        assert torch.allclose(rpe.attention(none, q, k, v), F.scaled_dot_product_attention(q, k, v, is_causal=causal), atol=1e-6)


@pytest.mark.parametrize("name", catalog.names("encodings"))
def test_attention_is_that_of_the_plain_reference(name: str) -> None:
    encoding = rpe.encoding(name, d_model=64, n_head=4).eval()
    q, k, v = qkv()
    x = torch.randn(2, 9, 64)
    with torch.no_grad():
        scores = reference.scores(encoding, q, k, x, torch.arange(9)[None])
        expected = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf).softmax(-1) @ v
        out = rpe.attention(encoding, q, k, v, x=x)
        assert torch.allclose(out, expected, atol=1e-5)
        last = rpe.attention(encoding, q[:, :, -2:], k, v, x=x)  # the last two queries, as in decoding
        assert torch.allclose(last, expected[:, :, -2:], atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_attention_has_the_dtype_of_the_values(dtype: torch.dtype) -> None:
    q, k, v = (tensor.to(dtype) for tensor in qkv())
    assert rpe.attention(rpe.encoding("t5", d_model=64, n_head=4), q, k, v).dtype == dtype


def test_attention_says_which_shapes_it_needs() -> None:
    q, k, v = qkv()
    encoding = rpe.encoding("rope", d_model=64, n_head=4)
    for wrong in ((q[:, :2], k, v), (q, k[..., :8], v[..., :8]), (q, k, v[:, :, :3]), (q, k[:, :, :5], v[:, :, :5])):
        with pytest.raises(ValueError, match=r"write \[B, H, T, D\], \[B, H, S, D\] with H = 4 heads of D = 16"):
            rpe.attention(encoding, *wrong)
    with_features = rpe.encoding("fox", d_model=64, n_head=4)
    assert overrides(with_features, "features")
    with pytest.raises(ValueError, match="give x, the layer's normalized input"):
        rpe.attention(with_features, q, k, v)


def test_padding_and_positions_are_taken() -> None:
    q, k, v = qkv()
    encoding = rpe.encoding("alibi", d_model=64, n_head=4)
    padding_BxS = torch.zeros(2, 9, dtype=torch.bool)
    padding_BxS[:, :2] = True
    alone = rpe.attention(encoding, q[:, :, 2:], k[:, :, 2:], v[:, :, 2:])
    assert torch.allclose(rpe.attention(encoding, q, k, v, padding_mask=padding_BxS)[:, :, 2:], alone, atol=1e-6)
    shifted = rpe.attention(encoding, q, k, v, positions=torch.arange(9)[None] + 50)
    assert torch.allclose(shifted, rpe.attention(encoding, q, k, v), atol=1e-5)


def test_a_run_is_trained_once_and_evaluated_at_the_lengths_asked_for(run: rpe.Run) -> None:
    assert run.path.name.startswith("copy-symbols-4-rope-s3-")
    assert run.record["status"] == "trained"
    assert rpe.train("copy:symbols=4", "rope", seed=3, runs=run.path.parent, device="cpu", **TINY) == run
    frame = run.evaluate("1x,2x")
    assert frame["length"].tolist() == [4, 8]
    assert frame["n"].tolist() == [32, 32]
    assert frame["token_accuracy"].between(0, 1).all()
    assert run.evaluate("8", samples=8)[["length", "n"]].to_numpy().tolist() == [[4, 8], [8, 8]]
    assert "trained" in run._repr_html_()


def test_the_model_answers_and_shows_what_it_attends_to(run: rpe.Run) -> None:
    shown = run.attention("3 1 2")
    assert shown.words[:5] == [">", "3", "1", "2", "|"]
    assert shown.words[:5] == run.attention("> 3 1 2 |").words[:5]
    T = len(shown.words)
    assert shown.weights.shape == (1, 2, T, T)
    assert torch.allclose(shown.weights.sum(-1), torch.ones(1, 2, T), atol=1e-5)
    assert shown.answer == " ".join(word for word in shown.words[5:] if word != ".")
    assert len(shown.plot().axes) == len(shown.plot(layer=1).axes) == 2
    picture, size = shown.plot()._repr_png_()  # type: ignore[attr-defined]
    assert picture.startswith(b"\x89PNG")
    assert size["width"] > size["height"] > 100
    with pytest.raises(ValueError, match=r"'9' is not a symbol of copy:symbols=4: write words such as 0, 1, 2, 3"):
        run.attention("3 9")


def test_runs_and_reports_are_data_frames(run: rpe.Run, tmp_path: Path) -> None:
    run.evaluate("1x,2x")
    frame = rpe.runs(run.path.parent)
    assert set(frame["run"]) == {run.path.name}
    assert {4, 8} <= set(frame["length"])
    assert set(frame["train_length"]) == {4}
    assert len(rpe.plot_accuracy(run.path.parent).axes) == 2
    assert {"rope", "alibi"} <= set(rpe.results("quick", ROOT / "results")["encoding"])
    assert rpe.runs(tmp_path).empty
    with pytest.raises(ValueError, match="rpe report --name other writes one"):
        rpe.results("other", tmp_path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"task": "cpoy"}, "did you mean copy"),
        ({"encoding": "rope,alibi"}, "these are 2 runs"),
        ({"stepz": 3}, "did you mean steps"),
        ({"steps": "many"}, "steps"),
        ({"length": 300, "task": "sort:symbols=20"}, "no problem longer than 19"),
    ],
)
def test_a_wrong_argument_says_what_to_write_instead(keys: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        rpe.train(**{"task": "copy", "encoding": "rope", "runs": tmp_path / "runs", **keys})  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()
