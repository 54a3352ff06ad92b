"""rpe from Python: what it exports, attention in place of PyTorch's, runs that are those of the command, data frames, errors."""

import inspect
import re
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import rpecli.api as rpe
from rpecli import catalog
from rpecli.attention import reference
from rpecli.encoding import overrides
from rpecli.evaluate.load import load
from rpecli.probes import attention_map
from rpecli.run import directory
from rpecli.run.files import RunError
from rpecli.task import build as build_task

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


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"q": torch.zeros(4, 9, 16), "k": torch.zeros(4, 9, 16), "v": torch.zeros(4, 9, 16)}, r"q \[4, 9, 16\].*H = 4 heads"),
        ({"q": torch.zeros(2, 4, 9, 8)}, "H = 4 heads of D = 16"),
        ({"q": None}, "q is no tensor but NoneType"),
        ({"padding_mask": [[True]]}, "padding_mask is no tensor but list"),
        ({"encoding": "t5"}, r"encoding 't5' is none: write rpe\.encoding"),
        ({"padding_mask": torch.zeros(2, 7, dtype=torch.bool)}, r"padding_mask \[2, 7\]: write \[B, S\] = \[2, 9\]"),
        ({"padding_mask": torch.zeros(3, 9, dtype=torch.bool)}, r"padding_mask \[3, 9\]"),
        ({"padding_mask": torch.zeros(2, 9)}, r"padding_mask has torch\.float32: write torch\.bool"),
        ({"positions": torch.arange(9)}, r"positions \[9\]: write \[B, S\] = \[2, 9\]"),
        ({"positions": torch.zeros(3, 9).long()}, r"positions \[3, 9\]"),
        ({"x": torch.zeros(2, 8, 64)}, r"x \[2, 8, 64\]: write .* = \[2, 9, 64\]"),
        ({"x": torch.zeros(9, 64)}, r"x \[9, 64\]"),
        ({"v": torch.zeros(2, 4, 9, 16).long()}, r"v has torch\.int64: write torch\.float32"),
    ],
)
def test_attention_says_what_is_wrong_with_its_arguments(keys: dict[str, Any], message: str) -> None:
    q, k, v = qkv()
    known = {"encoding": rpe.encoding("fox", d_model=64, n_head=4), "q": q, "k": k, "v": v, "x": torch.zeros(2, 9, 64)}
    with pytest.raises(ValueError, match=message):
        rpe.attention(**{**known, **keys})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: rpe.runs(5), r"^folder 5: write a path, such as 'runs'"),  # type: ignore[arg-type]
        (lambda _: rpe.runs(None), "folder None: write a path"),  # type: ignore[arg-type]
        (lambda _: rpe.plot_accuracy(5), "folder 5: write a path"),  # type: ignore[arg-type]
        (lambda _: rpe.results(None), "name None: write a path"),  # type: ignore[arg-type]
        (lambda _: rpe.results("quick", 5), "folder 5: write a path"),  # type: ignore[arg-type]
        (lambda _: rpe.Run(5), "path 5: write a path"),  # type: ignore[arg-type]
        (lambda _: rpe.train(None, "rope"), r"task None: write a name \(rpe ls tasks\) or a path"),  # type: ignore[arg-type]
        (lambda _: rpe.train("copy", None), r"encoding None: write a name \(rpe ls encodings\) or a path"),  # type: ignore[arg-type]
        (lambda _: rpe.train("copy", "rope", runs=5), "runs 5: write a path"),  # type: ignore[arg-type]
        (lambda _: rpe.train("copy", "rope", progress=5), "progress 5: write a function"),  # type: ignore[arg-type]
        (lambda run: run.evaluate("1x", progress=5), "progress 5: write a function"),
        (lambda run: run.evaluate("1x", grid="2:4"), "rpe eval --grid measures pairs of sizes"),
        (lambda run: run.attention(5), r"text 5: write the symbols of an input, such as '3 1 2'"),
        (lambda run: run.attention("3 1").plot("a"), "layer 'a': the model has layers 1 to 1"),
        (lambda _: rpe.encoding(None, d_model=64, n_head=4), "encoding None: write a name or a path"),  # type: ignore[arg-type]
        (lambda _: rpe.encoding("t5", d_model=64, n_head=0), "n_head 0: write a whole number from 1 on"),
        (lambda _: rpe.encoding("t5", d_model="64", n_head=4), "d_model '64': write a whole number"),  # type: ignore[arg-type]
        (lambda _: rpe.encoding("t5", d_model=64, n_head=4, max_train_length=0), "max_train_length 0: write"),
        (lambda _: rpe.encoding("t5", d_model=64, n_head=4, causal="no"), "causal 'no': write True"),  # type: ignore[arg-type]
    ],
)
def test_an_argument_of_another_kind_says_what_to_write(call: Any, message: str, run: rpe.Run, here: Path) -> None:
    with pytest.raises(ValueError, match=message):
        call(run)
    assert not list(here.iterdir())


def test_padding_and_positions_are_taken() -> None:
    q, k, v = qkv()
    encoding = rpe.encoding("alibi", d_model=64, n_head=4)
    padding_BxS = torch.zeros(2, 9, dtype=torch.bool)
    padding_BxS[:, :2] = True
    alone = rpe.attention(encoding, q[:, :, 2:], k[:, :, 2:], v[:, :, 2:])
    assert torch.allclose(rpe.attention(encoding, q, k, v, padding_mask=padding_BxS)[:, :, 2:], alone, atol=1e-6)
    shifted = rpe.attention(encoding, q, k, v, positions=torch.arange(9)[None] + 50)
    assert torch.allclose(shifted, rpe.attention(encoding, q, k, v), atol=1e-5)


def test_an_encoding_that_is_not_one_or_does_not_fit_is_refused() -> None:
    for choice in ("rope+none", "rope:then=none"):
        with pytest.raises(ValueError, match="several encodings: build one for each layer"):
            rpe.encoding(choice, d_model=64, n_head=4)
    with pytest.raises(ValueError, match="d_model 64 is not a multiple of n_head 5"):
        rpe.encoding("rope", d_model=64, n_head=5)


def test_a_run_is_trained_once_and_evaluated_at_the_lengths_asked_for(run: rpe.Run) -> None:
    assert run.path.name.startswith("copy-symbols-4-rope-s3-")
    assert run.record["status"] == "trained"
    assert rpe.train("copy:symbols=4", "rope", seed=3, runs=run.path.parent, device="cpu", **TINY) == run
    threads = torch.get_num_threads()
    frame = run.evaluate("1x,2x")
    assert torch.get_num_threads() == threads
    assert frame["length"].tolist() == [4, 8]
    assert frame["n"].tolist() == [32, 32]
    assert frame["token_accuracy"].between(0, 1).all()
    assert run.evaluate("8", samples=8)[["length", "n"]].to_numpy().tolist() == [[4, 8], [8, 8]]
    assert run.evaluate([4, 8]).equals(run.evaluate("4,8"))
    assert "trained" in run._repr_html_()
    assert repr(run) == f"Run({str(run.path)!r})"


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
    assert run.attention([3, 1, 2]).words == shown.words
    unknown = r"'9' is not a symbol of copy:symbols=4: write words with spaces between them, such as 0, 1, 2, 3"
    with pytest.raises(ValueError, match=unknown):
        run.attention("3 9")
    for layer in (0, 2):
        with pytest.raises(ValueError, match=rf"layer {layer}: the model has layers 1 to 1"):
            shown.plot(layer)


def test_a_long_answer_is_cut_and_shown_by_its_first_words(run: rpe.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_map, "MAX_ANSWER", 2)
    assert len(run.attention("3 1 2 0 1 3").words) <= 8 + 2
    shown = rpe.AttentionMap([">", "3", "|", *["3"] * 40], 3, torch.zeros(1, 2, 43, 43))
    assert shown.answer == " ".join(["3"] * 40)
    assert repr(shown) == f"AttentionMap('> 3 | {' '.join(['3'] * 30)} and 10 more', 1 layers, 2 heads, 43 tokens)"
    assert shown._repr_html_() == f"<p>&gt; 3 | <b>{' '.join(['3'] * 30)} and 10 more</b></p>"


@pytest.fixture(scope="module")
def parity(tmp_path_factory: pytest.TempPathFactory) -> rpe.Run:
    return rpe.train("parity", "rope", seed=3, runs=tmp_path_factory.mktemp("parity"), device="cpu", **TINY)


def test_answers_between_the_symbols_are_put_in_as_the_model_gives_them(parity: rpe.Run) -> None:
    shown = parity.attention("1 0 1")
    assert shown.words[::2] == [">", shown.words[2], shown.words[4], shown.words[6]]
    assert [shown.words[place] for place in (0, 1, 3, 5)] == [">", "1", "0", "1"]
    assert shown.answer == " ".join(shown.words[2::2])
    assert shown.weights.shape == (1, 2, 7, 7)
    assert shown._repr_html_() == f"<p>&gt; 1 0 1 <b>{shown.answer}</b></p>"
    assert parity.attention("> 1 [1] 0 [1] 1 [0]").words == shown.words, "as rpe show prints it: its answers are the model's"
    loaded, _ = load(directory.Run(parity.path))
    words = loaded.task.words(list(range(loaded.task.vocabulary)))
    with torch.no_grad():
        best_T = loaded.model.head(loaded.model(torch.tensor([[words.index(word) for word in shown.words]]))).argmax(-1)[0]
    assert [words[token] for token in best_T[1::2]] == shown.words[2::2]


@pytest.mark.parametrize("text", ["1 | 0", "1 0 1 .", "1 . 0"])
def test_marks_that_the_format_of_the_task_lacks_are_no_symbols(parity: rpe.Run, text: str) -> None:
    with pytest.raises(ValueError, match=r"'[|.]' is not a symbol of parity: write words .* such as 0, 1$"):
        parity.attention(text)


def test_an_empty_input_is_refused(run: rpe.Run, parity: rpe.Run) -> None:
    for model in (run, parity):
        for text in ("", ">", []):
            with pytest.raises(ValueError, match="the input is empty: write the symbols of an input"):
                model.attention(text)


@pytest.mark.parametrize(
    ("task", "text", "places"),
    [
        ("copy", "3 1", [">", "3", "1", "|"]),
        ("parity", "1 0", [">", "1", None, "0", None]),
        ("k-back:k=2", "a b e", [">", "a", "b", "e", None]),
        ("depo", "24 100 k1 24 = [100]", [">", "24", "100", "k1", "24", "=", None]),
        ("flip-flop:format=lm", "w 0 r", [">", "w", "0", "r", None]),
        ("flip-flop:format=lm", "w 0 r [0] i 1", [">", "w", "0", "r", None, "i", "1"]),
        ("dyck", "( )", [">", "(", ")"]),
    ],
)
def test_the_places_of_answers_are_those_of_the_format(task: str, text: str, places: list[str | None]) -> None:
    built = build_task(task)
    loaded = SimpleNamespace(task=built, config=SimpleNamespace(task=task, length=built.nearest_length(6)))
    tokens = attention_map._Input(loaded, text.split()).places()  # type: ignore[arg-type]
    assert [None if token is None else built.words([token])[0] for token in tokens] == places


def test_an_answer_is_the_likeliest_token_of_the_full_pass_each_time(run: rpe.Run) -> None:
    loaded, _ = load(directory.Run(run.path))
    shown = run.attention("3 1 2")
    token_of = dict(zip(loaded.task.words(list(range(loaded.task.vocabulary))), range(loaded.task.vocabulary), strict=True))
    ids_1xT = torch.tensor([[token_of[word] for word in shown.words]])
    with torch.no_grad():
        best_T = loaded.model.head(loaded.model(ids_1xT)).argmax(-1)[0]
    assert best_T[4:-1].tolist() == ids_1xT[0, 5:].tolist()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"attention": "bidirectional"}, "attention is for causal models"),
        ({"positions": "randomized", "max_position": 32}, "the run has randomized positions"),
    ],
)
def test_attention_refuses_models_that_do_not_read_from_left_to_right_at_0_1_2(
    keys: dict[str, object], message: str, tmp_path: Path
) -> None:
    run = rpe.train("copy:symbols=4", "rope", runs=tmp_path, device="cpu", **{**TINY, "steps": 1, **keys})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        run.attention("1 2")


def test_runs_and_reports_are_data_frames(run: rpe.Run, tmp_path: Path) -> None:
    run.evaluate("1x,2x")
    frame = rpe.runs(run.path.parent)
    assert set(frame["run"]) == {run.path.name}
    assert {4, 8} <= set(frame["length"])
    assert set(frame["train_length"]) == {4}
    assert len(rpe.plot_accuracy(run.path.parent).axes) == 2
    assert {"rope", "alibi"} <= set(rpe.results("quick", ROOT / "results")["encoding"])
    assert rpe.runs(run.path).equals(frame)
    assert rpe.runs(tmp_path).empty
    shutil.copytree(run.path.parent, tmp_path / "damaged")
    (file,) = (tmp_path / "damaged").glob("*/recipe.yaml")
    file.write_text(file.read_text() + "\n")
    with pytest.warns(UserWarning, match="recipe.yaml has changed"):
        assert rpe.runs(tmp_path / "damaged").empty
    with pytest.raises(ValueError, match="there is no folder 'nothing' in"):
        rpe.runs("nothing")
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
        ({"encoding": "rpoe"}, r"^encoding: unknown encoding 'rpoe': did you mean rope"),
        ({"device": "gpu"}, "no device 'gpu' here: write cpu"),
        ({"max_position": 64}, "max_position: of use with positions offset, randomized or coupled only: remove it"),
    ],
)
def test_a_wrong_argument_says_what_to_write_instead(keys: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        rpe.train(**{"task": "copy", "encoding": "rope", "runs": tmp_path / "runs", **keys})  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("lengths", "settings", "message"),
    [
        ("1x-8x", {}, r"^lengths: '1x-8x' is not a length: did you mean 1x:8x\?$"),
        ("8x:1x", {}, r"^lengths: '8x:1x' descends: write 1x:8x$"),
        ("9:2x", {}, r"^lengths: '9:2x' descends: write 2x:9  \(trained on length 4\)$"),
        ("", {}, "lengths: is empty"),
        ("1x", {"sample": 8}, "sample: unknown key: did you mean samples"),
        ("1x", {"samples": "a"}, "samples: 'a' is not a whole number: write for example 256"),
        ("1x", {"steps": 8}, "steps: decided when the run was trained: an evaluation has lengths, samples"),
        ("1000000", {}, r"length 1000000: attention over that many tokens takes many hours: leave it out, .* shorter one"),
        ("10000000", {}, r"length 10000000: .*: leave it out"),
    ],
)
def test_a_wrong_evaluation_says_what_to_write_instead_and_measures_nothing(
    run: rpe.Run, lengths: str, settings: dict[str, object], message: str
) -> None:
    before = (run.path / "eval.jsonl").read_bytes() if (run.path / "eval.jsonl").exists() else b""
    with pytest.raises(ValueError, match=message):
        run.evaluate(lengths, **settings)
    assert ((run.path / "eval.jsonl").read_bytes() if (run.path / "eval.jsonl").exists() else b"") == before


def test_a_length_that_no_problem_has_is_warned_of(tmp_path: Path) -> None:
    run = rpe.train("sort:symbols=5", "rope", runs=tmp_path, device="cpu", **{**TINY, "steps": 1})
    with pytest.warns(UserWarning, match="sort:symbols=5 has no problem longer than 4: left out"):
        assert run.evaluate("4,9")["length"].tolist() == [4]


def test_an_evaluation_tells_each_length_in_words(run: rpe.Run) -> None:
    said = list[str]()
    frame = run.evaluate("1x,2x", eval_seed=3, progress=said.append)
    assert [line.split(":")[0] for line in said] == ["length 4", "length 8"]
    assert f"{round(100 * frame['token_accuracy'][0])} % of tokens" in said[0]
    assert "32 strings" in said[0]


def test_a_path_that_is_no_run_is_refused_when_it_is_opened(run: rpe.Run) -> None:
    assert rpe.Run(run.path) == run
    with pytest.raises(RunError, match="no run runs/nothing"):
        rpe.Run(Path("runs/nothing"))


@pytest.mark.parametrize("work", ["train", "evaluate"])
def test_the_stop_button_keeps_what_is_done_and_the_same_call_continues(
    work: str, run: rpe.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = list[str]()

    def stop(line: str) -> None:
        lines.append(line)
        if len(lines) == 1:
            signal.raise_signal(signal.SIGINT)

    def call() -> object:
        if work == "evaluate":
            return run.evaluate("4,8,12", eval_seed=7, progress=stop)["length"].tolist()
        keys = {**TINY, "validate_every": 10}
        return rpe.train("copy:symbols=4", "rope", runs=tmp_path, device="cpu", progress=stop, **keys).record["status"]

    with pytest.raises(KeyboardInterrupt, match="stopped, and saved: the same call continues from here"):
        call()
    assert len(lines) == 1
    assert call() == ([4, 8, 12] if work == "evaluate" else "trained")
    assert len(lines) == 3


def test_the_figure_of_runs_leaves_out_what_was_not_evaluated(tmp_path: Path) -> None:
    keys = {**TINY, "steps": 1}
    rpe.train("copy:symbols=4", "rope", runs=tmp_path, device="cpu", **keys)
    with pytest.raises(ValueError, match="1 run trained but not evaluated"):
        rpe.plot_accuracy(tmp_path)
    other = rpe.train("copy:symbols=4", "alibi", runs=tmp_path, device="cpu", **{**keys, "length": 6})
    other.evaluate("1x", samples=8)
    with pytest.warns(UserWarning, match="1 run trained but not evaluated"):
        assert len(rpe.plot_accuracy(tmp_path).axes) == 2


@pytest.mark.parametrize("name", ["none", "rope", "alibi", "t5", "fire", "fox", "cope", "selective-rope", "path-attention"])
def test_the_model_of_the_docs_generates_as_its_full_pass_and_padding_changes_nothing(name: str) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    code = next(part.split("```")[0] for part in page.split("```python\n") if "class GPT" in part)
    names: dict[str, Any] = {"rpe": rpe}
    exec(code[: code.index("model = GPT(")], names)
    torch.manual_seed(0)
    model = names["GPT"](vocabulary=11, d_model=32, n_head=2, n_layer=2, encoding=name)
    ids_BxT = torch.randint(11, (2, 9))
    with torch.no_grad():
        logits_BxTxV = model(ids_BxT)
        caches: list[dict[str, torch.Tensor]] = [{}, {}]
        steps = [model(token, caches) for token in ids_BxT.split([4, *[1] * 5], dim=1)]
        assert torch.allclose(torch.cat(steps, dim=1), logits_BxTxV, atol=1e-5)
        padded_BxT = torch.cat([torch.zeros(2, 3, dtype=torch.long), ids_BxT], dim=1)
        padding_BxT = torch.arange(12).expand(2, -1) < 3
        assert torch.allclose(model(padded_BxT, padding_mask=padding_BxT)[:, 3:], logits_BxTxV, atol=1e-5)
        longer_BxT = names["generate"](model, ids_BxT, 4)
        full_BxT = ids_BxT
        for _ in range(4):
            full_BxT = torch.cat([full_BxT, model(full_BxT)[:, -1:].argmax(-1)], dim=1)
    assert longer_BxT.tolist() == full_BxT.tolist()
