"""Evaluation: exact match, token accuracy and likelihood at each length, on sequences that are the same for every run.

In a causal model, the argmax under teacher forcing gives exactly the exact match of greedy decoding: the first wrong token is a
failure in both. Evaluation is always float32. Sequences go through the model in batches of a bounded number of tokens, so memory
does not grow with the number of sequences.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from rpecli import data, objective
from rpecli.device import available_memory, to_device
from rpecli.encoding import TooLongError
from rpecli.evaluate import duplicates, grid
from rpecli.evaluate.asked import Place, agreeing_lines, place_of, places, task_override
from rpecli.evaluate.data_set import open_set
from rpecli.evaluate.eval_set import eval_set
from rpecli.evaluate.load import load
from rpecli.evaluate.memory import BATCH_TOKENS, batch_size_for, memory_problem, ran_out_of_memory
from rpecli.evaluate.request import EvalRequest
from rpecli.evaluate.scores import rescaled_accuracy, wilson_interval
from rpecli.model import LoadedModel, Transformer
from rpecli.run.code import fingerprint_of, shipped_code
from rpecli.run.directory import Run, Stopped
from rpecli.run.records import EXAMPLE_WORDS, EvalLine, EvalScores, Example, SetScores
from rpecli.signals import stop_signals
from rpecli.task import SPECIAL, Batch

N_DECILES = 10  # parts of the answer whose accuracy is kept apart
N_PLACES = 40  # doublings of the place in a sequence


def evaluate(
    run: Run,
    request: EvalRequest = EvalRequest(),  # noqa: B008 - frozen
    device: str = "auto",
    progress: Callable[[EvalLine], None] | None = None,
) -> list[str]:
    """Adds a line to eval.jsonl for each length that has none yet; returns why the others could not be measured.

    Raises RunError for a run that is not trained, and Stopped on SIGINT or SIGTERM, with the finished lengths saved.
    """
    torch.set_num_threads(run.config.threads)
    problems = []
    with run.lock(required=False), stop_signals() as stopped:
        loaded, weights = load(run, device, request)
        code = fingerprint_of(shipped_code(loaded.config))
        steps = int(run.record.get("step", loaded.config.steps))
        fingerprints = already_evaluated(run, loaded, weights, request)
        for length, sizes in places(loaded.config, loaded.task, request.folder):
            at = replace(loaded, task=grid.of_sizes(loaded.task, sizes)) if sizes else loaded
            if stopped:
                raise Stopped(stopped[0])
            try:
                if (length, sizes) not in fingerprints and (problem := memory_problem(at, length, available_memory())):
                    problems.append(problem)
                    continue
                blocks = eval_set(at.config, at.task, length, request.folder)
                if data.fingerprint(blocks) in fingerprints.get((length, sizes), ()):
                    continue
                run.require_writable()
                scores = measure(at, length, blocks, stopped)
            except TooLongError as error:
                problems.append(f"length {length}: {error}")
                continue
            except Exception as error:
                if not ran_out_of_memory(error):
                    error.add_note(f"at length {length}")  # which a failure of the user's code is told with
                    raise
                problems.append(f"length {length}: does not fit in memory, one sequence at a time: leave it out")
                continue
            source = open_set(request.folder).name_of(length, loaded.task) if request.folder else None
            line: EvalLine = {
                **scores,
                "weights": weights,
                "encoding_override": request.encoding_override,
                "task_override": task_override(run, loaded.config),
                "data": source,
                "code": code,
            }
            line["repeated"] = round(duplicates.repeated(blocks), 6)
            if sizes:
                line["grid"] = grid.cell(at.task, at.config, sizes)
            elif (seen := duplicates.seen(at.config, at.task, length, blocks, steps)) is not None:
                line["seen"] = round(seen, 6)
            run.append_evaluation(line)
            if progress:
                progress(line)
        if stopped:
            raise Stopped(stopped[0])
    return problems


def already_evaluated(run: Run, loaded: LoadedModel, weights: str, request: EvalRequest) -> dict[Place, set[str]]:
    """The fingerprints of the sets that these weights were evaluated on, by length or cell; none if the request overwrites."""
    fingerprints: dict[Place, set[str]] = {}
    for line in agreeing_lines(run, loaded.config, weights, request) if not request.overwrite else []:
        fingerprints.setdefault(place_of(line), set()).add(line["fingerprint"])
    return fingerprints


@dataclass
class SequenceScores:
    """What is counted of each sequence, `[B]`, and of each tenth of its answer, `[B, N_DECILES]`."""

    exact: np.ndarray  # bool: every answer token is right
    exact_eos: np.ndarray  # bool: so is the end token
    n_correct: np.ndarray  # answer tokens that are right
    n_answer: np.ndarray  # answer tokens
    nll: np.ndarray  # sum over the answer tokens, in nats
    n_correct_by_decile: np.ndarray
    n_answer_by_decile: np.ndarray
    nll_by_place: np.ndarray  # `[B, N_PLACES]`: as nll, at places 1, 2, 3-4, 5-8, ... of the sequence
    n_answer_by_place: np.ndarray

    @property
    def share_B(self) -> np.ndarray:  # noqa: N802 - a tensor named by its shape
        """By which the best of several right answers is chosen: one that is all right, else the largest share of tokens."""
        return self.exact + self.n_correct / self.n_answer

    @classmethod
    def concatenate(cls, parts: list["SequenceScores"]) -> "SequenceScores":
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def best_of(self, group_N: np.ndarray) -> "SequenceScores":
        """One sequence per group: one that is right, else the one with the largest share of its tokens right."""
        order_N = np.lexsort((-self.share_B, group_N))
        first_G = order_N[np.unique(group_N[order_N], return_index=True)[1]]
        return SequenceScores(*(getattr(self, field.name)[first_G] for field in fields(self)))


@torch.no_grad()
def measure(
    loaded: LoadedModel, length: int, blocks: list[Batch], stopped: list[int], batch_tokens: int = BATCH_TOKENS
) -> EvalScores:
    """Evaluates a model on the evaluation set of a length. Raises Stopped between two batches once `stopped` holds a signal."""
    start, config = time.monotonic(), loaded.config
    batch_size = batch_size_for(blocks[0].tokens_BxT.shape[1], batch_tokens)
    parts, untrained, shown = list[SequenceScores](), 0.0, None
    rope_factor = loaded.model.fit(data.evaluated_positions(loaded.task, config, blocks, length))
    for number, block in enumerate(blocks):
        for first in range(0, len(block.tokens_BxT), batch_size):
            if stopped:
                raise Stopped(stopped[0])
            batch = block.rows(first, first + batch_size)
            places = data.evaluation_positions(loaded.task, config, batch, length, number)
            positions = to_device(places, loaded.device)
            examples = data.shift_targets(batch, config)
            ids_BxT = torch.from_numpy(examples.inputs_BxT).to(loaded.device)
            scores, predicted_BxT = score(loaded.model, examples, ids_BxT, positions)
            parts.append(scores)
            shown = shown or example(loaded, examples, predicted_BxT, first_problem(scores, batch.group_B))
            untrained += untrained_tokens(loaded.model, ids_BxT, positions) / ids_BxT.shape[1]
    scores, seconds = SequenceScores.concatenate(parts), time.monotonic() - start
    untrained /= len(scores.exact)  # the share in every sequence, also where the best of several counts
    groups = [block.group_B for block in blocks if block.group_B is not None]
    if groups:
        scores = scores.best_of(np.concatenate(groups))
    assert shown
    summary = _summary(loaded, length, blocks, scores, untrained, seconds)
    line: EvalScores = {**summary, "example": shown}
    if loaded.task.measure == "perplexity":
        line["chance_nll"] = round(loaded.task.chance_nll(length), 6)
        line["nll_by_place"] = _nll_by_place(scores)
    return line if rope_factor is None else {**line, "rope_factor": rope_factor}


def first_problem(scores: SequenceScores, group_B: np.ndarray | None) -> list[int]:
    """The rows of the first problem of a batch, one for each of its right answers, the one that counts first."""
    if group_B is None:
        return [0]
    rows = np.flatnonzero(group_B == group_B[0]).tolist()
    return sorted(rows, key=lambda row: -scores.share_B[row])


def example(loaded: LoadedModel, examples: data.Examples, predicted_BxT: np.ndarray, rows: list[int]) -> Example:
    """The sequence of the first of these rows, as words; the others are other right answers to the same problem."""
    first, *others = rows
    is_answer_T, tokens_T = examples.answer_mask_BxT[first], examples.tokens_BxT[first]
    is_prompt_T = (tokens_T >= SPECIAL) & (~is_answer_T | examples.sets)  # where sets are predicted, the tokens are read too
    words = loaded.task.set_words if examples.sets else loaded.task.words

    def answer(values_BxT: np.ndarray, row: int, words: Callable[[list[int]], list[str]]) -> list[str]:
        return words(values_BxT[row][examples.answer_mask_BxT[row]][-EXAMPLE_WORDS:].tolist())

    shown: Example = {
        "prompt": loaded.task.words(tokens_T[is_prompt_T][-EXAMPLE_WORDS:].tolist()),
        "target": answer(examples.targets_BxT, first, words),
        "answer": answer(predicted_BxT, first, words),
    }
    if examples.sets and loaded.config.attention == "causal":
        shown["read"] = answer(examples.inputs_BxT, first, loaded.task.words)
    if others:
        shown["other_targets"] = [answer(examples.targets_BxT, row, words) for row in others]
    return shown


def untrained_tokens(model: Transformer, ids_BxT: Tensor, positions: Tensor | None) -> int:
    """How many tokens of a batch use parameters that training never touched: the most of any encoding."""
    if positions is None:
        positions = torch.arange(ids_BxT.shape[1], device=ids_BxT.device)
    positions_BxT = (positions if positions.dim() < 3 else positions[0]).expand(ids_BxT.shape)
    return max(encoding.untrained(positions_BxT, ids_BxT) for encoding in model.current)


def score(
    model: Transformer, examples: data.Examples, ids_BxT: Tensor, positions: Tensor | None
) -> tuple[SequenceScores, np.ndarray]:
    """Predicts the answer and end tokens of a batch and counts those that are right; also the predictions, `[B, T]`."""
    answer_BxT, eos_BxT, index_N = examples.answer_mask_BxT, examples.eos_mask_BxT, np.flatnonzero(examples.scored_BxT)
    query_index_N = torch.from_numpy(index_N).to(ids_BxT.device)
    target_N = torch.from_numpy(examples.targets_BxT.flat[index_N]).to(ids_BxT.device)
    padding_mask_BxT = to_device(examples.padding_mask_BxT, ids_BxT.device)
    logits_NxV = model.head(model(ids_BxT, positions, padding_mask_BxT, query_index_N=query_index_N))
    predicted_BxT, nll_BxT = np.full(answer_BxT.shape, -1), np.zeros(answer_BxT.shape)  # -1: a place that is not scored
    predicted_BxT.flat[index_N] = objective.predict(logits_NxV, examples.sets).cpu().numpy()
    correct_BxT = predicted_BxT == examples.targets_BxT
    nll_BxT.flat[index_N] = objective.losses(logits_NxV, target_N, examples.sets).cpu().numpy()
    exact_B = (correct_BxT | ~answer_BxT).all(1)
    decile_BxT = (answer_BxT.cumsum(1) - 1) * N_DECILES // answer_BxT.sum(1, keepdims=True)
    in_decile = [answer_BxT & (decile_BxT == decile) for decile in range(N_DECILES)]
    scores = SequenceScores(
        exact=exact_B,
        exact_eos=exact_B & (correct_BxT | ~eos_BxT).all(1),
        n_correct=(correct_BxT & answer_BxT).sum(1),
        n_answer=answer_BxT.sum(1),
        nll=(nll_BxT * answer_BxT).sum(1),
        n_correct_by_decile=np.stack([(correct_BxT & mask_BxT).sum(1) for mask_BxT in in_decile], 1),
        n_answer_by_decile=np.stack([mask_BxT.sum(1) for mask_BxT in in_decile], 1),
        nll_by_place=by_place(nll_BxT * answer_BxT),
        n_answer_by_place=by_place(answer_BxT.astype(np.int64)),
    )
    return scores, predicted_BxT


def by_place(values_BxT: np.ndarray) -> np.ndarray:
    """Sums over places 1, 2, 3-4, 5-8, ..., `[B, N_PLACES]`."""
    B, T = values_BxT.shape
    starts = [0, *(2**k for k in range(N_PLACES) if 2**k < T)]
    sums_BxP = np.zeros((B, N_PLACES), values_BxT.dtype)
    sums_BxP[:, : len(starts)] = np.add.reduceat(values_BxT, starts, axis=1)
    return sums_BxP


def _nll_by_place(scores: SequenceScores) -> list[float | None]:
    """Nats per answer token at places 1, 2, 3-4, 5-8, ... of the sequence; None at places without an answer."""
    nll_P, n_P = scores.nll_by_place.sum(0), scores.n_answer_by_place.sum(0)
    last = int(np.flatnonzero(n_P)[-1]) + 1
    return [round(float(nll / n), 6) if n else None for nll, n in zip(nll_P[:last], n_P[:last], strict=True)]


def _summary(
    loaded: LoadedModel, length: int, blocks: list[Batch], scores: SequenceScores, untrained: float, seconds: float
) -> SetScores:
    n, n_exact, n_answer = len(scores.exact), int(scores.exact.sum()), scores.n_answer.sum()
    accuracy, chance = float(scores.n_correct.sum() / n_answer), loaded.task.chance(length)
    rescaled = rescaled_accuracy(accuracy, chance)
    deciles = zip(scores.n_correct_by_decile.sum(0), scores.n_answer_by_decile.sum(0), strict=True)
    summary: SetScores = {
        "length": length,
        "n": n,
        "exact_match": n_exact / n,
        "exact_match_eos": float(scores.exact_eos.mean()),
        "interval": [round(bound, 6) for bound in wilson_interval(n_exact, n)],
        "token_accuracy": round(accuracy, 6),
        "token_accuracy_rescaled": None if rescaled is None else round(rescaled, 6),
        "chance": round(chance, 6),
        "nll": round(float(scores.nll.sum() / n_answer), 6),
        "accuracy_by_decile": [round(float(correct / answers), 4) if answers else None for correct, answers in deciles],
        "correct": np.packbits(scores.exact).tobytes().hex(),
        "sequence": blocks[0].tokens_BxT.shape[1],
        "eval_seed": loaded.config.eval.eval_seed,
        "fingerprint": data.fingerprint(blocks),
        "positions": data.fixed_kind(loaded.config),
        "untrained_positions": round(untrained, 6),
        "seconds": round(seconds, 3),
    }
    if loops := data.other_loops(loaded.config):
        summary["loops"] = loops
    return summary
