"""rpe in Python and notebooks: `import rpecli.api as rpe`. What `__all__` names is kept stable; everything else is private.

encoding = rpe.encoding("t5", d_model=64, n_head=4)      an encoding as a torch module
y = rpe.attention(encoding, q, k, v)                     attention with it, in place of scaled_dot_product_attention
run = rpe.train("copy", "rope", seed=0, steps=1000)      a trained run, the same as that of `rpe train`
run.evaluate("1x:8x")                                    its accuracy by length
run.attention("3 1 2")                                   what it attends to, and what it answers
rpe.runs("runs"), rpe.results("quick")                   data frames of runs, and of a report
rpe.plot_accuracy("runs")                                accuracy against length, a matplotlib figure
"""

import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from rpecli import plot
from rpecli.attention import arguments, dispatch
from rpecli.config import load as config_load
from rpecli.config.ranges import parse_lengths
from rpecli.config.recipe import Config, EvalSettings
from rpecli.device import available_memory, pick_device
from rpecli.encoding import Encoding, QueryKey
from rpecli.encoding import build as encoding
from rpecli.evaluate.asked import asked_lines, places
from rpecli.evaluate.load import load
from rpecli.evaluate.measure import evaluate
from rpecli.evaluate.memory import memory_problem
from rpecli.evaluate.request import EvalRequest
from rpecli.launch import preflight, sizes
from rpecli.probes.attention_map import AttentionMap, attention_map
from rpecli.run import directory
from rpecli.run.files import RunError
from rpecli.run.problems import folded
from rpecli.run.records import EvalLine, MetricsLine
from rpecli.run.ways import evaluations_by_way
from rpecli.signals import Interrupted
from rpecli.table import plural, whole_percent
from rpecli.train import loop

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AttentionMap", "Encoding", "Run", "attention", "encoding", "plot_accuracy", "results", "runs", "train"]

SCORES = ["length", "n", "exact_match", "token_accuracy", "chance", "nll"]  # of an evaluation, in data frames
RUN_KEYS = ["task", "encoding", "positions", "seed"]


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
        padding_mask: True for tokens that nobody attends to, `[B or 1, S]`, of torch.bool.

    Returns:
        `[B, H, T, D]` in the dtype of v.

    Raises:
        ValueError: Shapes or types do not fit, or x is missing.
    """
    arguments.check(encoding, {"q": q, "k": k, "v": v, "x": x, "positions": positions, "padding_mask": padding_mask})
    S = k.shape[2]
    positions_BxS = torch.arange(S, device=k.device)[None] if positions is None else positions
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
        object.__setattr__(self, "path", _path("path", self.path))
        _ = self.record  # raises RunError for a path that is no run

    @property
    def record(self) -> dict[str, Any]:
        """What run.json says: status, steps, parameters, commit, machine. Raises RunError where it cannot be read."""
        return directory.Run(self.path).record

    def evaluate(
        self, lengths: str | Sequence[int] = "1x:8x", *, progress: Callable[[str], None] | None = None, **settings: Any
    ) -> pd.DataFrame:
        """Accuracy by length, a row each; what was measured before is not measured again.

        The training length and its doublings below the first length are always among them. The time grows with the square of the
        length; `samples=16` measures fewer sequences than 256.

        Args:
            lengths: As in `rpe eval --lengths`: "1x:8x" for 1, 2, 4 and 8 times the training length, or "512,1024".
            progress: Called with a line of text at every length that was measured, for example `print`.
            settings: samples, eval_tokens, eval_seed, eval_positions, eval_loops, eval_task, as in a recipe.

        Raises:
            RunError: The run is not trained, or its files are damaged.
            ValueError: A length or a setting is not valid, or a length needs more memory or time than there is.
        """
        _check_progress(progress)
        run = directory.Run(self.path)
        request = EvalRequest(_eval_settings(run.config, {"lengths": lengths, **settings}))
        _check_lengths(run, request)
        say = None if progress is None else lambda line: progress(evaluation_words(line))
        with _saved_when_stopped():
            problems = evaluate(run, request, progress=say)
        if problems:
            raise ValueError("; ".join(problems))
        return pd.DataFrame([{name: line[name] for name in SCORES} for line in asked_lines(run, request).values()])  # type: ignore[literal-required]

    def attention(self, text: str | Sequence[int]) -> AttentionMap:
        """What the trained model answers to an input, and what every head attends to on the way.

        Args:
            text: An input as `rpe show TASK` prints it, up to the answer: "3 1 2", or [3, 1, 2]. `>` before and `|` behind it are
                added. Where answers stand between the symbols, as in parity, write the symbols alone: the model's answers are put
                in, one after another.

        Raises:
            RunError: The run is not trained, or its files are damaged.
            ValueError: A symbol is not one of the task's, the input is empty or of no length of the task, or the model does not
                read from left to right at positions 0, 1, 2, ...
        """
        if not isinstance(text, Iterable):
            raise ValueError(f"text {text!r:.60}: write the symbols of an input, such as '3 1 2' or [3, 1, 2]")
        words = text.split() if isinstance(text, str) else list(map(str, text))
        return attention_map(load(directory.Run(self.path))[0], words)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        record, rows = self.record, _rows_of(directory.Run(self.path))
        title = f"<b>{escape(record['id'])}</b>: {escape(record['status'])}, {record.get('parameters', 0):,} parameters"
        frame = pd.DataFrame([{name: row[name] for name in SCORES} for row in rows if row["length"] is not None])
        return f"<p>{title}</p>{frame.to_html(index=False, border=0, float_format='{:.3g}'.format) if len(frame) else ''}"


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
        keys: Any other key of a recipe: steps=500, length=32, d_model=128 (`rpe check --keys` lists them). One that is None has
            its default, as seed has 0.

    Raises:
        RecipeError: A key or a value is wrong; the message names it, and what to write instead.
        ValueError: The task or the encoding is missing, or does not fit the rest.
    """
    for name, value in (("task", task), ("encoding", encoding)):
        if not isinstance(value, str | PathLike | list | tuple):
            raise ValueError(f"{name} {value!r:.60}: write a name (rpe ls {name}s) or a path")
    folder = _path("runs", runs)
    _check_progress(progress)
    pick_device(device)
    recipe, source = config_load.load(None, _texts({"task": task, "encoding": encoding, "seed": seed, **keys}), "")
    configs = recipe.configs()
    if len(configs) > 1:
        raise ValueError(f"these are {len(configs)} runs: name one task, one encoding and one seed")
    if recipe.lr_search:
        raise ValueError("lr_search: this trains one run: write lr, or use rpe run")
    for key, purpose in configs[0].unused_keys.items():
        if keys.get(key) is not None:
            raise ValueError(f"{key}: of use with {purpose} only: remove it")
    if problems := preflight.problems(recipe, source):
        raise ValueError("\n".join(map(str, problems)))
    run = directory.Run.create(configs[0], folder, "notebook")
    say = None if progress is None else lambda line: progress(progress_words(line, configs[0].steps))
    with _saved_when_stopped():
        loop.train(run, device, say)
    return Run(run.path)


def _path(name: str, value: Any) -> Path:
    if not isinstance(value, str | PathLike):
        raise ValueError(f"{name} {value!r:.60}: write a path, such as 'runs'")
    return Path(value)


def _check_progress(progress: Any) -> None:
    if progress is not None and not callable(progress):
        raise ValueError(f"progress {progress!r:.60}: write a function that takes a line of text, such as print")


@contextmanager
def _saved_when_stopped() -> Iterator[None]:
    """The stop button of a notebook, as the exception that it raises everywhere; torch keeps its number of threads."""
    threads = torch.get_num_threads()
    try:
        yield
    except directory.Stopped as stopped:
        if stopped.signal != signal.SIGINT:
            raise
        raise KeyboardInterrupt("stopped, and saved: the same call continues from here") from None
    except Interrupted:
        raise KeyboardInterrupt from None
    finally:
        torch.set_num_threads(threads)


def _texts(keys: dict[str, Any]) -> dict[str, str]:
    """Values as a command line has them: 16 and 32 for [16, 32]; a key whose value is None is left out."""
    lists = {name: value for name, value in keys.items() if isinstance(value, list | tuple | range)}
    return {name: ",".join(map(str, lists[name])) if name in lists else str(value)
            for name, value in keys.items() if value is not None}  # fmt: skip


def _eval_settings(config: Config, keys: dict[str, Any]) -> EvalSettings:
    """The settings of the evaluation of a run, those given above its own. Raises ValueError, of which RecipeError is one."""
    if "grid" in keys:
        raise ValueError("grid: lengths are measured here: rpe eval --grid measures pairs of sizes")
    recipe = config_load.load_evaluation(_texts(keys), "")
    if others := [key for key in keys if key not in EvalSettings.model_fields]:
        known = ", ".join(key for key in EvalSettings.model_fields if key != "grid")
        raise ValueError(f"{others[0]}: decided when the run was trained: an evaluation has {known}")
    settings = config.eval.model_copy(update={key: getattr(recipe, key) for key in keys if keys[key] is not None})
    settings.check_lengths(config.length)
    return settings


def _check_lengths(run: directory.Run, request: EvalRequest) -> None:
    """Warns of lengths that no problem has. Raises ValueError, before anything is measured, for those that are too long."""
    loaded, _ = load(run, request=request)
    config, task = loaded.config, loaded.task.split("test", loaded.config.length)
    for length in parse_lengths(config.eval.lengths, config.length):
        if not task.has_length(length):
            warnings.warn(f"{config.task} has no problem {task.why_not(length)}: left out", stacklevel=3)
    problems = []
    for length, _ in places(config, loaded.task, None):
        sequence = loaded.task.sequence(length)
        if problem := memory_problem(loaded, length, available_memory()):
            problems.append(problem)
        elif sizes.evaluation_products(config, sequence) > sizes.MOST_PRODUCTS:
            problems.append(f"length {length}: attention over that many tokens takes many hours: leave it out, or lower samples")
    if problems:
        shorter = f" (and {plural(len(problems) - 1, 'shorter one')})" if len(problems) > 1 else ""
        raise ValueError(f"{problems[-1]}{shorter}")


def progress_words(line: MetricsLine, steps: int) -> str:
    """A validation in words."""
    return f"step {line['step']} of {steps}: loss {line['loss']:.3f}, {whole_percent(line['token_accuracy'])} % of tokens right"


def evaluation_words(line: EvalLine) -> str:
    """An evaluation of one length in words."""
    right = f"{whole_percent(line['token_accuracy'])} % of tokens and {whole_percent(line['exact_match'])} % of strings right"
    return f"length {line['length']}: {right}, {plural(line['n'], 'string')}, {line['seconds']:.1f} s"


def runs(folder: str | Path = "runs") -> pd.DataFrame:
    """Every run of a folder, a row for each length evaluated as its recipe says (its own encoding, positions, seed of the sets).

    A run that was not evaluated has one row without a length.

    Columns: run, task, encoding, positions, seed, status, parameters, train_length, length, n, exact_match, token_accuracy,
    chance, nll. Damaged runs are left out with a warning. A folder may also be one run.

    Raises ValueError where there is no such folder.
    """
    readable, problems = directory.readable_runs(_run_paths(folder))
    rows = list[dict[str, Any]]()
    for run in readable:
        try:
            rows += _rows_of(run)
        except RunError as error:
            problems.append((run.path, str(error)))
    for problem in folded(problems):
        warnings.warn(problem, stacklevel=2)
    return pd.DataFrame(rows, columns=["run", *RUN_KEYS, "status", "parameters", "train_length", *SCORES])


def _run_paths(folder: str | Path) -> list[Path]:
    """The run directories of a folder, or the folder itself where it is one."""
    path = _path("folder", folder)
    if not path.is_dir():
        raise ValueError(f"there is no folder {str(path)!r} in {Path.cwd()}: rpe.train writes to 'runs' unless told otherwise")
    return [path] if directory.Run(path).has_record else directory.directories(path)


def _rows_of(run: directory.Run) -> list[dict[str, Any]]:
    record, config = run.record, run.config
    about = {"run": run.name, **{key: getattr(config, key) for key in RUN_KEYS}, "status": record["status"],
             "parameters": record.get("parameters"), "train_length": config.length}  # fmt: skip
    lines = [dict(line) for line in evaluations_by_way(run).get("", {}).values()] or [{}]
    return [about | {name: line.get(name) for name in SCORES} for line in lines]


def results(name: str, folder: str | Path = "results") -> pd.DataFrame:
    """The summary of a report, a row per task, encoding and length: the report of that name in a folder, or its own folder.

    Raises ValueError where there is none.
    """
    root, report = _path("folder", folder), _path("name", name)
    places = [root / report, root / "shipped" / report, report]
    file = next((place / "summary.csv" for place in places if (place / "summary.csv").is_file()), None)
    if file is None:
        where = root.absolute()
        raise ValueError(
            f"no report {str(name)!r} in {where}: rpe report --name {name} writes one, or name the folder of another"
        )
    return pd.read_csv(file)


def plot_accuracy(folder: str | Path = "runs") -> "Figure":
    """Token accuracy and exact match against length, a line per encoding: the figure of a report.

    Raises ValueError where no run was evaluated.
    """
    from rpecli.report.aggregate import aggregate
    from rpecli.report.figures.accuracy import accuracy_figure, series_styles
    from rpecli.report.load import load_runs

    loaded = load_runs(_run_paths(folder))
    for warning in loaded.warnings:
        warnings.warn(warning, stacklevel=2)
    evaluated = [task for task in aggregate(loaded.runs) if task.lengths]
    return plot.for_notebooks(accuracy_figure(evaluated, series_styles(evaluated)).figure)
