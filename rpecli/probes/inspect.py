"""Where a run's heads attend and why, as plain values: by distance, pattern and score term; and how alike runs attend.

Measured over the first block of the evaluation set of each length; distances, entropies and patterns over the rows that predict
the answer. A run's numbers become a line of its probes.jsonl; what is there already is not measured again.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from rpecli import data
from rpecli.config.ranges import parse_lengths
from rpecli.device import available_memory
from rpecli.evaluate.data_set import open_set
from rpecli.evaluate.eval_set import eval_set
from rpecli.evaluate.load import load
from rpecli.evaluate.request import EvalRequest
from rpecli.model import LoadedModel
from rpecli.probes import mean_scores, score_terms, similarity, store
from rpecli.probes.attention_weights import attention_rows, layer_inputs, n_passes
from rpecli.probes.head_patterns import AttentionSums, patterned_heads
from rpecli.probes.inputs import ProbeBatch, probe_batches
from rpecli.probes.store import InspectedRun
from rpecli.run.directory import Run
from rpecli.run.files import RunError
from rpecli.run.records import AttentionLine, AttentionMap, AttentionScores, LengthAttention, PatternedHead, strongest_head
from rpecli.task import Batch

LENGTHS = "1x,2x,4x"
Guard = Callable[[Run], AbstractContextManager[None]]  # around the work on one run: what it does with that run's errors
MAX_MAP = 160  # tokens up to which the attention of one sequence is kept whole
MAX_SCORES = 1 << 24  # cells of a layer's scores `[H, T, T]` up to which whole matrices are fitted: score terms, functions of i-j


def inspect(
    requests: Mapping[Run, EvalRequest], lengths: str = LENGTHS, device: str = "auto", guard: Guard = lambda _: nullcontext()
) -> dict[str, list[dict[str, Any]]]:
    """Inspects runs: `{"runs": [...], "similarity": [...]}`, one entry per run and per pair of comparable runs.

    Raises RunError for a run that is not trained, and for lengths that need too much memory, unless `guard` catches it.
    """
    runs, inspected = [], []
    for run, request in requests.items():
        with guard(run):
            inspected_run, missing_lengths = inspect_run(run, lengths, device, request)
            inspected.append(inspected_run)
            line = {key: value for key, value in inspected_run.line.items() if key != "probe"}
            measured = {str(length["length"]) for length in inspected_run.line["lengths"]}
            nan_lengths = [int(length) for length in inspected_run.line["fingerprints"] if length not in measured]
            left_out = {"missing_lengths": missing_lengths, "nan_lengths": nan_lengths}
            runs.append(store.run_names(run, request) | line | left_out)
    return {"runs": runs, "similarity": list(similarity.compare_runs(inspected, device))}


@torch.no_grad()
def inspect_run(run: Run, lengths: str, device: str, request: EvalRequest) -> tuple[InspectedRun, list[int]]:
    """Inspects a run, or reads from its probes.jsonl what was measured on the same weights and evaluation sets.

    Also returns the lengths that it has no sequences of.
    """
    torch.set_num_threads(run.config.threads)
    with run.lock(required=False):
        loaded, weights = load(run, device, request)
        available, missing = _available_lengths(loaded, lengths, request.folder)
        sets = {length: eval_set(loaded.config, loaded.task, length, request.folder) for length in available}
        identity = store.eval_identity(loaded, weights, request)
        fingerprints = {str(length): data.fingerprint(blocks) for length, blocks in sets.items()}
        stored = [] if request.overwrite else store.matching_lines(run, ["attention"], {**identity, "fingerprints": fingerprints})
        if stored:
            line: AttentionLine = stored[-1]
        else:
            scores = measure(loaded, {length: blocks[0] for length, blocks in sets.items()})
            line = {"probe": "attention", **identity, "fingerprints": fingerprints, **scores}
            store.append(run, line)
    return InspectedRun(run, request, loaded.config.task, identity, line), missing


def _available_lengths(loaded: LoadedModel, lengths: str, folder: Path | None) -> tuple[list[int], list[int]]:
    """The lengths to inspect, the training length and half of it among them; and those that have no sequences."""
    config = loaded.config
    requested = {config.length, *parse_lengths(lengths, config.length)}
    if folder is None:
        requested.add(_half_length(loaded))
        available = set(filter(loaded.task.has_length, requested))
    else:
        available = requested & set(open_set(folder).lengths) | {config.length}
    return sorted(available), sorted(requested - available)


def _half_length(loaded: LoadedModel) -> int:
    return loaded.task.nearest_length(max(loaded.config.min_length, loaded.config.length // 2))


def _second_length(loaded: LoadedModel, lengths: list[int]) -> int:
    """The length that tells how a pattern grows: half the training length, else the next one above, else the next below."""
    trained, half = loaded.config.length, _half_length(loaded)
    if half < trained and half in lengths:
        return half
    others = [length for length in lengths if length != trained]
    return min(others, key=lambda length: (length < trained, length), default=trained)


def measure(loaded: LoadedModel, blocks: dict[int, Batch]) -> AttentionScores:
    """Where and why the heads of a model attend, on one block of sequences per length.

    Lengths at which attention is not a number are left out. Raises RunError if it does not fit, or is none in training.
    """
    config = loaded.config
    for length, block in blocks.items():
        _require_memory(loaded, length, block)
    batches = {length: list(probe_batches(loaded, length, [block])) for length, block in blocks.items()}
    sums = {length: _attention_sums(loaded, batches[length]) for length in blocks}
    sums = {length: layers for length, layers in sums.items() if all(layer.is_finite() for layer in layers)}
    if config.length not in sums:
        raise RunError(f"length {config.length}: its attention is not a number")
    batches = {length: batches[length] for length in sums}
    by_layer = [{length: sums[length][layer] for length in sums} for layer in range(n_passes(loaded))]
    heads = patterned_heads(by_layer, config.length, _second_length(loaded, list(sums)))
    return {
        "normalizer": config.normalizer,
        "train_length": config.length,
        "causal": config.attention == "causal",
        "lengths": [_length_attention(loaded, length, batches[length], sums[length]) for length in sums],
        "patterned_heads": heads,
        "attention_map": _attention_map(loaded, batches, head) if (head := strongest_head(heads, config.length)) else None,
    }


def _attention_map(loaded: LoadedModel, batches: dict[int, list[ProbeBatch]], head: PatternedHead) -> AttentionMap:
    """What one head attends to in the first sequence of each length up to MAX_MAP tokens."""
    rows = {}
    for length, (first, *_) in batches.items():
        if first.inputs_BxT.shape[1] <= MAX_MAP:
            layer = layer_inputs(loaded, first)[head["layer"] - 1]
            in_first_BxT = first.answer_mask_BxT.clone()
            in_first_BxT[1:] = False
            weights_NxT = attention_rows(layer, in_first_BxT)[:, head["head"] - 1]
            rows[str(length)] = ["".join(str(min(9, int(10 * weight))) for weight in row) for row in weights_NxT.tolist()]
    return {"layer": head["layer"], "head": head["head"], "pattern": head["pattern"], "rows": rows}


def _require_memory(loaded: LoadedModel, length: int, block: Batch) -> None:
    """Attention at one sequence's answers has to fit, and whole scores where they are fitted, in float32 and float64."""
    T, n_head = block.tokens_BxT.shape[1], loaded.config.n_head
    whole = T * T * n_head * (128 + 8 * n_passes(loaded)) if _fits_whole_scores(loaded, T) else 0
    needed = max(32 * int(block.answer_mask_BxT[0].sum()) * T * n_head, whole)
    if needed > available_memory():
        raise RunError(f"length {length}: its attention needs about {needed / 2**30:.0f} GiB: give shorter --lengths")


def _fits_whole_scores(loaded: LoadedModel, T: int) -> bool:
    return loaded.config.n_head * T * T <= MAX_SCORES


def _attention_sums(loaded: LoadedModel, batches: list[ProbeBatch]) -> list[AttentionSums]:
    """The sums of every layer over the rows that predict the answer."""
    T = batches[0].inputs_BxT.shape[1]
    sums = [AttentionSums(loaded.config.n_head, T) for _ in range(n_passes(loaded))]
    for batch in batches:
        i_N = batch.answer_mask_BxT.nonzero()[:, 1]
        t_N = (batch.answer_mask_BxT.cumsum(1) - 1)[batch.answer_mask_BxT]
        for layer_sums, layer in zip(sums, layer_inputs(loaded, batch), strict=True):
            layer_sums.add(attention_rows(layer, batch.answer_mask_BxT), i_N, t_N, layer.causal)
    return sums


def _length_attention(loaded: LoadedModel, length: int, batches: list[ProbeBatch], sums: list[AttentionSums]) -> LengthAttention:
    """What is reported of one length; whole matrices of scores only where they are small enough."""
    T, causal = batches[0].inputs_BxT.shape[1], loaded.config.attention == "causal"
    has_scores = _fits_whole_scores(loaded, T)
    has_terms = has_scores and score_terms.adds_positions(loaded.model)
    return {
        "length": length,
        "sequence": T,
        "n": sum(len(batch.inputs_BxT) for batch in batches),
        "layers": [layer.heads(causal) for layer in sums],
        "scores": mean_scores.measure(loaded, batches) if has_scores else None,
        "terms": score_terms.measure(loaded.model, batches) if has_terms else None,
    }
