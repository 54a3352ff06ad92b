"""Exact match at any length from one parallel pass, on strings that are the same for every run.

For a causal model, teacher-forced argmax gives exactly greedy decoding's exact match: the first error is a failure either way.
Always float32. Sequences go through the model in batches of a bounded number of tokens, so memory does not grow with the set.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from rpecli import data, task
from rpecli.config import ranges as config_ranges
from rpecli.config import recipe
from rpecli.device import n_cores, pick_device, stop_signals
from rpecli.evaluate import hf_dataset as export
from rpecli.evaluate.memory import _why_not, at_once
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel, Transformer, build
from rpecli.run import directory as run
from rpecli.run.files import RunError, append_line, read_lines

FEWEST = 32  # sequences a length, however long
PLACES = 10  # parts of the answer whose accuracy is kept apart


def evaluate(
    path: Path,
    request: EvalRequest = EvalRequest(),  # noqa: B008 - frozen
    device: str = "auto",
    threads: int | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> list[str]:
    """Appends a line to eval.jsonl for each length that is not there yet. Returns what could not be measured, and why.

    Raises run.RunError for a run that is not trained, run.Stopped when a signal asks it to stop (finished lengths are kept).
    """
    torch.set_num_threads(threads or n_cores())
    with run.lock(path), stop_signals() as stopped:
        loaded, weights = load(path, device, request)
        have, trouble = measured(path, request, loaded.config, weights), []
        for length in lengths(loaded.config, loaded.task, request):
            if stopped:
                raise run.Stopped(stopped[0])
            problem = None if length in have else _why_not(loaded, length)
            if problem:
                trouble.append(problem)
                continue
            try:
                blocks = strings(loaded.config, loaded.task, length, request.folder)
                if data.fingerprint(blocks) in have.get(length, ()):
                    continue
                line = measure(loaded, length, blocks, stopped)
            except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
                if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
                    raise
                trouble.append(f"length {length}: does not fit in memory, one sequence at a time: leave it out")
                continue
            append_line(path / "eval.jsonl", line | {"weights": weights, "encoding_override": request.encoding_override})
            if progress:
                progress(line)
        if stopped:
            raise run.Stopped(stopped[0])
        return trouble


def load(path: Path, device: str = "auto", request: EvalRequest = EvalRequest()) -> tuple[LoadedModel, str]:  # noqa: B008 - frozen
    """A trained run's model, ready to evaluate as requested, and the fingerprint of its weights. Raises run.RunError."""
    file = path / "weights.safetensors"
    if run.read(path)["status"] != "trained" or not file.exists():
        raise RunError(f"{path} is not trained yet: rpe train {path / 'recipe.yaml'}")
    config = run.config_of(path)
    choices = {"eval": request.settings or config.eval, "encoding": request.encoding_override or config.encoding}
    loaded = build(config.model_copy(update=choices), pick_device(device))
    try:
        state = load_file(file, device=str(loaded.device))
        if request.encoding_override is not None:
            _swap(loaded.model, state)
        loaded.model.load_state(state)
    except Exception as error:
        remedy = (
            f"delete {path} and train it again"
            if request.encoding_override is None
            else "choose one without parameters, or the run's own"
        )
        raise RunError(f"{file} does not load ({error}): {remedy}") from None
    loaded.model.switch(True)
    loaded.model.eval()
    return loaded, hashlib.sha256(file.read_bytes()).hexdigest()[:8]


def _swap(model: Transformer, state: dict[str, torch.Tensor]) -> None:
    """Drops from a weights file the parameters of an encoding that another one has taken the place of."""
    own = model.state()
    for name in [name for name in state if name.split(".")[0] in ("encodings", "later") and name not in own]:
        del state[name]


def lengths(config: recipe.Config, made: task.Task, request: EvalRequest) -> list[int]:
    """What is to be measured, ascending: the folder's lengths or the recipe's, the training length always among them.

    Lengths that the task has no problem of are left out; the command says so.
    """
    if request.folder is not None:
        return export.lengths_of(request.folder)
    wanted = {config.length, *config_ranges.parse_lengths(config.eval.lengths, config.length)}
    return sorted(n for n in wanted if n <= (made.longest() or n))


def measured(path: Path, request: EvalRequest, config: recipe.Config, weights: str) -> dict[int, set[str]]:
    """Lengths, and the fingerprints of the strings, that these weights were measured on already; none if that is to be again."""
    have: dict[int, set[str]] = {}
    same = {"weights": weights, "encoding_override": request.encoding_override, "positions": data.fixed_kind(config)}
    for line in read_lines(path / "eval.jsonl") if not request.overwrite else []:
        if all(line.get(key) == value for key, value in same.items()):
            have.setdefault(line["length"], set()).add(line["fingerprint"])
    return have


def strings(config: recipe.Config, made: task.Task, length: int, folder: Path | None = None) -> list[task.Batch]:
    """The evaluation set of a length: `samples` sequences, fewer when long to stay within eval_tokens, never under FEWEST."""
    if folder is None:
        count = min(config.eval.samples, max(FEWEST, config.eval.eval_tokens // made.sequence(length)))
        return list(data.evaluation_blocks(made, length, count, config.eval.eval_seed))
    blocks = list(export.blocks_of(folder, length, config.eval.samples))
    most = max(int(batch.tokens_BxT.max()) for batch in blocks)
    if most >= made.vocabulary:
        raise ValueError(
            f"{folder}: holds tokens up to {most}, and {config.task} ends at {made.vocabulary - 1}: "
            f"write a set of this task with rpe data {config.task}"
        )
    return blocks


@torch.no_grad()
def measure(loaded: LoadedModel, length: int, blocks: list[task.Batch], stopped: list[int]) -> dict[str, Any]:
    """One line of eval.jsonl, all numbers over the same sequences."""
    start = time.monotonic()
    config, made = loaded.config, loaded.task
    parts, untrained = [], 0.0
    for number, block in enumerate(blocks):
        for piece in _pieces(block, at_once(block.tokens_BxT.shape[1])):
            if stopped:
                raise run.Stopped(stopped[0])
            drawn = data.fixed_positions(made, config, piece, "evaluation positions", config.eval.eval_seed, length, number)
            places = None if drawn is None else torch.from_numpy(drawn).to(loaded.device)
            framed = data.frame(piece, config)
            parts.append(_score(loaded, framed, places))
            untrained += _untrained(loaded, framed, places)
    total = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return _line(config, made, length, total) | {
        "sequence": blocks[0].tokens_BxT.shape[1],
        "eval_seed": config.eval.eval_seed,
        "fingerprint": data.fingerprint(blocks),
        "positions": data.fixed_kind(config),
        "untrained_positions": round(untrained / sum(len(block.tokens_BxT) for block in blocks), 6),
        "seconds": round(time.monotonic() - start, 3),
    }


def _pieces(block: task.Batch, rows: int) -> Iterable[task.Batch]:
    for start in range(0, len(block.tokens_BxT), rows):
        yield task.Batch(block.tokens_BxT[start : start + rows], block.answer_BxT[start : start + rows])


def _untrained(loaded: LoadedModel, batch: data.Framed, places: torch.Tensor | None) -> float:
    """Share of a batch's tokens that use parameters which training never touched, times its sequences."""
    ids_BxT = torch.from_numpy(batch.inputs_BxT).to(loaded.device)
    where = torch.arange(ids_BxT.shape[1], device=loaded.device) if places is None else places
    where_BxT = (where if where.dim() < 3 else where[0]).expand(ids_BxT.shape)
    return max(each.untrained(where_BxT, ids_BxT) for each in loaded.model.current) / ids_BxT.shape[1]


def _score(loaded: LoadedModel, batch: data.Framed, places: torch.Tensor | None) -> dict[str, np.ndarray]:
    """Per sequence: exact match without and with the end token, answer tokens right and in all, nll, right by place."""
    answer_BxT, end_BxT = batch.answer_BxT, batch.end_BxT
    at = np.flatnonzero(answer_BxT | end_BxT)
    at_N = torch.from_numpy(at).to(loaded.device)
    inputs_BxT = torch.from_numpy(batch.inputs_BxT).to(loaded.device)
    logits_NxV = loaded.model.head(loaded.model(inputs_BxT, places, query_index_N=at_N))
    target_N = torch.from_numpy(batch.targets_BxT.flat[at]).to(loaded.device)
    right_BxT, nll_BxT = np.zeros(answer_BxT.shape, bool), np.zeros(answer_BxT.shape)
    right_BxT.flat[at] = (logits_NxV.argmax(-1) == target_N).cpu().numpy()
    nll_BxT.flat[at] = F.cross_entropy(logits_NxV, target_N, reduction="none").cpu().numpy()
    exact_B = (right_BxT | ~answer_BxT).all(1)
    place_BxT = (answer_BxT.cumsum(1) - 1) * PLACES // answer_BxT.sum(1, keepdims=True)
    by_place = [(right_BxT & answer_BxT & (place_BxT == p)).sum(1) for p in range(PLACES)]
    in_place = [(answer_BxT & (place_BxT == p)).sum(1) for p in range(PLACES)]
    return {
        "exact": exact_B,
        "exact_end": exact_B & (right_BxT | ~end_BxT).all(1),
        "right": (right_BxT & answer_BxT).sum(1),
        "answers": answer_BxT.sum(1),
        "nll": (nll_BxT * answer_BxT).sum(1),
        "right_by_place": np.stack(by_place, 1),
        "answers_by_place": np.stack(in_place, 1),
    }


def _line(config: recipe.Config, made: task.Task, length: int, total: dict[str, np.ndarray]) -> dict[str, Any]:
    from scipy.stats import binomtest

    n, exact, answers = len(total["exact"]), int(total["exact"].sum()), total["answers"].sum()
    interval = binomtest(exact, n).proportion_ci(0.95, method="wilson")
    accuracy, chance = float(total["right"].sum() / answers), made.chance(length)
    right, of = total["right_by_place"].sum(0), total["answers_by_place"].sum(0)
    return {
        "length": length,
        "n": n,
        "exact_match": exact / n,
        "exact_match_eos": float(total["exact_end"].mean()),
        "interval": [round(float(interval.low), 6), round(float(interval.high), 6)],
        "token_accuracy": round(accuracy, 6),
        "token_accuracy_rescaled": round((accuracy - chance) / (1 - chance), 6) if chance < 1 else None,
        "chance": round(chance, 6),
        "nll": round(float(total["nll"].sum() / answers), 6),
        "accuracy_by_decile": [round(float(r / o), 4) if o else None for r, o in zip(right, of, strict=True)],
        "correct": np.packbits(total["exact"]).tobytes().hex(),
    }
