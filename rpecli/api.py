"""rpe in Python and notebooks: `import rpecli.api as rpe`. What `__all__` names is kept stable; everything else is private.

encoding = rpe.encoding("t5", d_model=64, n_head=4)      an encoding as a torch module
y = rpe.attention(encoding, q, k, v)                     attention with it, in place of scaled_dot_product_attention
run = rpe.train("copy", "rope", seed=0, steps=1000)      a trained run, the same as that of `rpe train`
run.evaluate("1x:8x")                                    its accuracy by length
run.attention("3 1 2")                                   what it attends to, and what it answers
rpe.runs("runs"), rpe.results("quick")                   data frames of runs, and of a report
rpe.plot_accuracy("runs")                                accuracy against length, a matplotlib figure
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rpecli import plot
from rpecli.attention import dispatch
from rpecli.config import load as config_load
from rpecli.config.recipe import EvalSettings
from rpecli.encoding import Encoding, QueryKey, overrides
from rpecli.encoding import build as encoding
from rpecli.evaluate.asked import asked_lines
from rpecli.evaluate.load import load
from rpecli.evaluate.measure import evaluate
from rpecli.evaluate.request import EvalRequest
from rpecli.launch import preflight
from rpecli.model import LoadedModel
from rpecli.probes.attention_weights import capture_layers
from rpecli.run import directory
from rpecli.run.problems import folded
from rpecli.run.records import MetricsLine
from rpecli.table import few, whole_percent
from rpecli.task import BOS, END, MARKS, SEP
from rpecli.train import loop

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AttentionMap", "Encoding", "Run", "attention", "encoding", "plot_accuracy", "results", "runs", "train"]

SCORES = ["length", "n", "exact_match", "token_accuracy", "chance", "nll"]  # of an evaluation, in data frames
RUN_KEYS = ["task", "encoding", "positions", "seed"]
MAX_ANSWER = 1024  # tokens that `Run.attention` lets a model write
SHOWN = 8  # symbols in a message
FEW_WORDS = 40  # that fit beside a panel


def attention(
    encoding: Encoding,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    x: Tensor | None = None,
    positions: Tensor | None = None,
    padding_mask: Tensor | None = None,
) -> Tensor:
    """softmax(scores) v with an encoding, by the fastest kernel that serves it; in place of scaled_dot_product_attention.

    Whether attention is causal is the encoding's: `rpe.encoding(..., causal=False)`. Absolute encodings do nothing here: add them
    to the token embeddings with `encoding.embed(x, positions, ids)`.

    Args:
        encoding: One of `rpe.encoding(...)`; its `n_head` and `d_model / n_head` are H and D.
        q: Queries of the last T tokens, not rotated, `[B, H, T, D]`.
        k: Keys of all S tokens, not rotated, `[B, H, S, D]`, also those of a cache.
        v: Values `[B, H, S, D]`.
        x: The layer's normalized input of all S tokens, `[B, S, d_model]`: only encodings that compute features of it need it.
        positions: Positions of the S tokens, `[B or 1, S]`; by default 0 to S-1, for which the kernels are fastest.
        padding_mask: True for tokens that nobody attends to, `[B, S]`.

    Returns:
        `[B, H, T, D]` in the dtype of v.

    Raises:
        ValueError: Shapes do not fit, or x is missing.
    """
    shape, S = encoding.shape, k.shape[2]
    if (
        q.shape[:2] != k.shape[:2]
        or v.shape != k.shape
        or q.shape[2] > S
        or (k.shape[1], k.shape[3]) != (shape.n_head, shape.d_head)
    ):
        expected = f"H = {shape.n_head} heads of D = {shape.d_head}"
        raise ValueError(
            f"q {list(q.shape)}, k {list(k.shape)}, v {list(v.shape)}: write [B, H, T, D], [B, H, S, D] with {expected}"
        )
    if x is None and overrides(encoding, "features"):
        raise ValueError("this encoding computes features of each token: give x, the layer's normalized input [B, S, d_model]")
    positions_BxS = torch.arange(S, device=k.device)[None] if positions is None else positions.expand(-1, S)
    contiguous = positions is None and padding_mask is None
    dtype = v.dtype if v.dtype == torch.bfloat16 else torch.float32
    q, k, values = q.to(dtype), k.to(dtype), v.to(dtype)
    features = None if x is None else encoding.on_scores.features(x)
    qk = QueryKey.last(q, k, positions_BxS, features)
    return dispatch.attend(encoding, qk, values, dispatch.ForwardContext(padding_mask, contiguous)).to(v.dtype)


@dataclass(frozen=True)
class Run:
    """A run directory: one task, one encoding, one seed; `train` makes one, `Run(path)` opens one."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def record(self) -> dict[str, Any]:
        """What run.json says: status, steps, parameters, commit, machine. Raises RunError where it cannot be read."""
        return directory.Run(self.path).record

    def evaluate(self, lengths: str = "1x:8x", **settings: Any) -> pd.DataFrame:
        """Accuracy by length, a row each, the training length among them; what was measured before is not measured again.

        Args:
            lengths: As in `rpe eval --lengths`: "1x:8x" for 1, 2, 4 and 8 times the training length, or "512,1024".
            settings: samples, eval_tokens, eval_seed, eval_positions, eval_task, as in a recipe.

        Raises:
            RunError: The run is not trained, or its files are damaged.
            ValueError: A length or a setting is not valid, or a length does not fit in memory.
        """
        run = directory.Run(self.path)
        request = EvalRequest(EvalSettings(**{**run.config.eval.model_dump(), **settings, "lengths": lengths}))
        if problems := evaluate(run, request):
            raise ValueError("; ".join(problems))
        return pd.DataFrame([{name: line[name] for name in SCORES} for line in asked_lines(run, request).values()])  # type: ignore[literal-required]

    def attention(self, text: str) -> "AttentionMap":
        """What the trained model answers to an input, and what every head attends to on the way.

        Args:
            text: An input as `rpe show TASK` prints it, up to the answer: "3 1 2". `>` before and `|` behind it are added.

        Raises:
            ValueError: A symbol is not one of the task's.
        """
        loaded, _ = load(directory.Run(self.path))
        if loaded.config.attention != "causal":
            raise ValueError(f"{self.path}: an encoder answers all places at once: attention is for causal models")
        tokens = _tokens(loaded, text)
        with torch.no_grad():
            ids_1xT = _answered(loaded, torch.tensor([tokens], device=loaded.device))
            with capture_layers(loaded.model) as layers:
                loaded.model(ids_1xT)
            weights_LxHxTxT = torch.cat([layer.weights(0, ids_1xT.shape[1]) for layer in layers]).cpu()
        return AttentionMap(loaded.task.words(ids_1xT[0].tolist()), len(tokens), weights_LxHxTxT)

    def _repr_html_(self) -> str:
        record, rows = self.record, _rows_of(directory.Run(self.path))
        title = f"<b>{escape(record['id'])}</b>: {escape(record['status'])}, {record.get('parameters', '?')} parameters"
        frame = pd.DataFrame([{name: row[name] for name in SCORES} for row in rows if row["length"] is not None])
        return f"<p>{title}</p>{frame.to_html(index=False, float_format='{:.3g}'.format) if len(frame) else ''}"


def _tokens(loaded: LoadedModel, text: str) -> list[int]:
    """The tokens of an input, with the begin token before it and, where the task's format has one, the separator behind it."""
    task = loaded.task
    format_T = task.sample(np.random.default_rng(0), 1, loaded.config.length).tokens_BxT[0].tolist()
    token_of = dict(zip(task.words(list(range(task.vocabulary))), range(task.vocabulary), strict=True))
    words = [word if word in token_of else word.strip("[]") for word in text.split()]
    if unknown := [word for word in words if word not in token_of]:
        known = few(list(token_of)[len(MARKS) :], SHOWN)
        raise ValueError(f"{unknown[0]!r} is not a symbol of {loaded.config.task}: write words such as {known}")
    tokens = [token_of[word] for word in words]
    tokens = tokens if tokens[:1] == [BOS] else [BOS, *tokens]
    return [*tokens, SEP] if SEP in format_T and SEP not in tokens else tokens


def _answered(loaded: LoadedModel, ids_1xT: Tensor) -> Tensor:
    """The tokens followed by the model's answer, its likeliest token each time, up to the end token."""
    first = ids_1xT.shape[1]
    while SEP in ids_1xT and ids_1xT[0, -1] != END and ids_1xT.shape[1] < first + MAX_ANSWER:
        hidden = loaded.model(ids_1xT, query_start=ids_1xT.shape[1] - 1)
        ids_1xT = torch.cat([ids_1xT, loaded.model.head(hidden).argmax(-1)], dim=1)
    return ids_1xT


@dataclass(frozen=True)
class AttentionMap:
    """What every head of a model attends to while it reads `words`, of which it wrote those from `prompt` on itself."""

    words: list[str]
    prompt: int
    weights: Tensor  # [layers, heads, T, T]: rows attend to columns

    @property
    def answer(self) -> str:
        """The model's answer, without the end token."""
        return " ".join(word for word in self.words[self.prompt :] if word != MARKS[END])

    def plot(self, layer: int | None = None) -> "Figure":
        """A panel per head, of one layer (from 1 on) or of all: brighter is more weight."""
        layers = range(len(self.weights)) if layer is None else [layer - 1]
        n_head, T = self.weights.shape[1:3]
        with plot.styled():
            figure = plot.new_figure()
            figure.set_size_inches(2.2 * n_head, 2.3 * len(layers))
            panels = figure.subplots(len(layers), n_head, squeeze=False)
            for row, number in enumerate(layers):
                for head in range(n_head):
                    panel = panels[row, head]
                    panel.imshow(self.weights[number, head].numpy(), vmin=0, vmax=1, cmap="Blues")
                    panel.set_title(f"layer {number + 1}, head {head + 1}")
                    if T <= FEW_WORDS:
                        panel.set_xticks(range(T), self.words)
                        panel.set_yticks(range(T), self.words)
            figure.tight_layout()
        return _shown(figure)

    def __repr__(self) -> str:
        layers, heads, T, _ = self.weights.shape
        words = f"{' '.join(self.words[: self.prompt])} {self.answer}"
        return f"AttentionMap({words!r}, {layers} layers, {heads} heads, {T} tokens)"

    def _repr_html_(self) -> str:
        return f"<p>{escape(' '.join(self.words[: self.prompt]))} <b>{escape(self.answer)}</b></p>"


def train(
    task: str,
    encoding: str,
    *,
    seed: int = 0,
    runs: str | Path = "runs",
    device: str = "auto",
    progress: Callable[[str], None] | None = None,
    **keys: Any,
) -> Run:
    """Trains one run into a folder of run directories; one that is trained already is returned as it is.

    Args:
        task: A task as for `rpe train --task`: "copy", "sort:symbols=50", "./mine.py", "data:path=pairs.jsonl".
        encoding: An encoding as for `rpe train --encoding`; files that are named may run.
        progress: Called with a line of text at every validation, for example `print`.
        keys: Any other key of a recipe: steps=500, length=32, d_model=128 (`rpe check --keys` lists them).

    Raises:
        RecipeError: A key or a value is wrong; the message names it, and what to write instead.
        ValueError: The task or the encoding does not fit the rest.
    """
    flags = {name: str(value) for name, value in keys.items() if value is not None}
    recipe, source = config_load.load(None, {"task": task, "encoding": encoding, "seed": str(seed), **flags})
    configs = recipe.configs()
    if len(configs) > 1:
        raise ValueError(f"these are {len(configs)} runs: name one task, one encoding and one seed")
    if recipe.lr_search:
        raise ValueError("lr_search: this trains one run: write lr, or use rpe run")
    if problems := preflight.problems(recipe, source):
        raise ValueError("\n".join(map(str, problems)))
    run = directory.Run.create(configs[0], Path(runs), "notebook")
    say = None if progress is None else lambda line: progress(progress_words(line, configs[0].steps))
    loop.train(run, device, say)
    return Run(run.path)


def progress_words(line: MetricsLine, steps: int) -> str:
    """A validation in words."""
    return f"step {line['step']} of {steps}: loss {line['loss']:.3f}, {whole_percent(line['token_accuracy'])} % of tokens right"


def runs(folder: str | Path = "runs") -> pd.DataFrame:
    """Every run of a folder, a row for each evaluated length; a run that was not evaluated has one row without a length.

    Columns: run, task, encoding, positions, seed, status, parameters, train_length, length, n, exact_match, token_accuracy,
    chance, nll. Damaged runs are left out with a warning.
    """
    readable, problems = directory.find_runs(Path(folder))
    for problem in folded(problems):
        warnings.warn(problem, stacklevel=2)
    columns = ["run", *RUN_KEYS, "status", "parameters", "train_length", *SCORES]
    return pd.DataFrame([row for run in readable for row in _rows_of(run)], columns=columns)


def _rows_of(run: directory.Run) -> list[dict[str, Any]]:
    record, config = run.record, run.config
    about = {"run": run.name, **{key: getattr(config, key) for key in RUN_KEYS}, "status": record["status"],
             "parameters": record.get("parameters"), "train_length": config.length}  # fmt: skip
    lines = [dict(line) for _, line in sorted(run.latest_evaluations().items())] or [{}]
    return [about | {name: line.get(name) for name in SCORES} for line in lines]


def results(name: str, folder: str | Path = "results") -> pd.DataFrame:
    """The summary of a report, a row per task, encoding and length: the report of that name in a folder, or its own folder.

    Raises ValueError where there is none.
    """
    places = [Path(folder) / name, Path(folder) / "shipped" / name, Path(name)]
    file = next((place / "summary.csv" for place in places if (place / "summary.csv").is_file()), None)
    if file is None:
        raise ValueError(f"no report {name!r} under {folder}: rpe report --name {name} writes one")
    return pd.read_csv(file)


def plot_accuracy(folder: str | Path = "runs") -> "Figure":
    """Token accuracy and exact match against length, a line per encoding: the figure of a report.

    Raises ReportError where no run was evaluated.
    """
    from rpecli.report.aggregate import aggregate
    from rpecli.report.figures.accuracy import accuracy_figure, series_styles
    from rpecli.report.load import load_runs

    tasks = aggregate(load_runs(directory.directories(Path(folder))).runs)
    return _shown(accuracy_figure(tasks, series_styles(tasks)).figure)


def _shown(figure: "Figure") -> "Figure":
    """The figure, with a picture for notebooks, where only pyplot's own figures have one; half as large as its pixels."""
    size = dict(zip(("width", "height"), (figure.get_size_inches() * plot.DPI / 2).astype(int).tolist(), strict=True))
    figure._repr_png_ = lambda: (plot.as_bytes(figure, "png"), size)  # type: ignore[attr-defined]
    return figure
