"""Runs on disk: directories as training, evaluation and inspection leave them, with every number given."""

from pathlib import Path
from typing import Any

from rpecli.config import load as config_load
from rpecli.report import build
from rpecli.run.directory import Run
from rpecli.run.files import append_line, line_bytes

CHANCE = 0.1
EVAL_IDENTITY = {"weights": "w", "encoding_override": None, "positions": "start", "eval_seed": 0}


def make_run(folder: Path, accuracy: dict[int, float], *, exact: dict[int, float] | None = None, **options: Any) -> Path:
    """The directory of `write_run`."""
    return write_run(folder, accuracy, exact=exact, **options).path


def write_run(folder: Path, accuracy: dict[int, float], *, exact: dict[int, float] | None = None, **options: Any) -> Run:
    """A trained run with an evaluation for each length.

    `options` holds recipe keys; `info` adds keys to run.json, `line` to the lines of eval.jsonl.
    """
    info, line = options.pop("info", {}), options.pop("line", {})
    flags = {"task": "copy", "encoding": "rope", "length": 16, "steps": 100, **options}
    recipe, _ = config_load.load(None, {key: str(value) for key, value in flags.items()})
    (config,) = recipe.configs()
    run = Run.create(config, folder)
    record = {"status": "trained", "steps": config.steps, "step": config.steps, "parameters": 1000, "tokens": 5000}
    record |= {"tokens_per_second": 10, "seconds": 2.5, "sequence": 35, "commit": "c0ffee", "dirty": False, "error": None}
    record |= {"versions": {"python": "3.11", "torch": "2.9"}, "machine": "a CPU, 2 cores", "device": "cpu"}
    record |= {"steps_to_accuracy": {"steps_to_90": 50, "tokens_to_90": 2500, "steps_to_99": None, "tokens_to_99": None}}
    run.update(**record | info)
    line = {"positions": "start" if config.positions == "offset" else config.positions} | line
    for length, value in accuracy.items():
        match = value if exact is None else exact[length]
        run.append_evaluation(evaluation(length, value, match) | line)
    return run


def evaluation(length: int, accuracy: float, match: float) -> dict[str, Any]:
    """A line of eval.jsonl."""
    scores = {"exact_match": match, "exact_match_eos": match, "token_accuracy": accuracy, "nll": 0.5, "chance": CHANCE}
    scores |= {"interval": [0.25, 0.75], "accuracy_by_decile": [accuracy] * 10, "untrained_positions": 0.0, "correct": "ff"}
    scores["example"] = {"prompt": ["7"] * length, "target": ["7"] * length, "answer": ["7"] * (length - 1) + ["8"]}
    scores["token_accuracy_rescaled"] = (accuracy - CHANCE) / (1 - CHANCE)
    about = {"length": length, "sequence": 2 * length + 3, "n": 100, "fingerprint": f"set{length}"}
    return about | scores | EVAL_IDENTITY | {"data": None, "seconds": 0.1}


def validation(step: int, accuracy: float, **keys: Any) -> dict[str, Any]:
    """A line of metrics.jsonl."""
    scores = {"loss": 0.5, "lr": 0.001, "token_accuracy": accuracy, "exact_match": accuracy}
    return {"step": step, "tokens": 50 * step, "seconds": 0.1 * step} | scores | keys


def shifted(probe: str, shift: int, **numbers: Any) -> dict[str, Any]:
    """A line of probes.jsonl that `rpe inspect --shift` writes, of a model of one layer."""
    scores = {"logits_mean": 0.0, "logits_max": 0.0, "kl_mean": 0.0, "kl_max": 0.0, "changed": 0.0}
    scores |= dict.fromkeys(("exact_match_before", "exact_match", "token_accuracy_before", "token_accuracy"), 1.0)
    scores |= {"attention": [0.0], "on_prefix": [0.0], "untrained_positions": 0.0, "seconds": 0.1}
    about = {"probe": probe, "shift": shift, "n": 100, "length": 16, "fingerprint": "set16"}
    return about | scores | EVAL_IDENTITY | numbers


def add_example(path: Path, length: int, answer: str) -> None:
    """Adds to the evaluation of a length the first sequence of its set, `abcd`, and what the run answered."""
    file = path / "eval.jsonl"
    lines = Run(path).evaluations()
    examples = {length: {"prompt": list("abcd"), "target": list("abcd"), "answer": list(answer)}}
    lines = [line | ({"example": examples[line["length"]]} if line["length"] in examples else {}) for line in lines]
    file.write_bytes(b"".join(map(line_bytes, lines)))


def add_inspection(path: Path, share: float, *, terms: bool = False, **keys: object) -> None:
    """As `rpe inspect` leaves a run of one layer and two heads, trained to 16: the first head looks back n, with this share."""
    pattern = {"layer": 1, "head": 1, "pattern": "distance n", "family": "distance", "growth": 1, "offset": 0}
    line = {"probe": "attention", **EVAL_IDENTITY, "fingerprints": {str(length): f"set{length}" for length in (8, 16, 32)}}
    line |= {"normalizer": "softmax", "train_length": 16, "causal": True}
    line["attention_map"] = None
    line["lengths"] = [_length_attention(length, share, terms) for length in (8, 16, 32)]
    line["patterned_heads"] = [pattern | {"share": {"8": 1.0, "16": share, "32": 0.25}}]
    append_line(path / "probes.jsonl", line | keys)


def _length_attention(length: int, share: float, terms: bool) -> dict[str, Any]:
    T = 2 * length + 2
    heads = [{"head": n, "distance": n * length / 2, "entropy": 0.5 * n, "uniform": 3.0,
              "by_distance": [share if d == length else (1 - share) / (T - 1) for d in range(T)]} for n in (1, 2)]  # fmt: skip
    fit = {"r2": share, "r2_row_centered": share, "r2_chance": 0.05}
    shares = {"content-content": 0.1, "content-position": 0.2, "position-content": 0.3, "position-position": 0.4}
    head_terms = [{"head": n, "share": shares, "covariance": shares, "toeplitz": fit} for n in (1, 2)]
    scores = [[{"head": n, **fit} for n in (1, 2)]]
    attention = {"length": length, "sequence": T, "n": 32, "layers": [heads], "scores": scores}
    return attention | {"terms": head_terms if terms else None}


def add_similarity(path: Path, others: list[Path], value: float) -> None:
    """As `rpe inspect` leaves the similarity of a run with others."""
    layers = [{"mean": value, "paired": value, "pairs": [[1, 1], [2, 2]]}]
    for other in others:
        line = {"probe": "similarity", **EVAL_IDENTITY, "length": 16, "fingerprint": "set16"}
        append_line(path / "probes.jsonl", line | {"other": {"run": other.name, **EVAL_IDENTITY}, "layers": layers})


def make_page(folder: Path) -> Path:
    """report.html of three seeds of three encodings and a failed run; names and errors hold what HTML would take for tags."""
    accuracy = {"rope": {16: 1.0, 32: 0.8, 64: 0.4}, "alibi": {16: 1.0, 32: 0.9, 64: 0.1}, "learned": {16: 1.0, 32: 0.2, 64: 0.0}}
    paths = [make_run(folder, by_length, encoding=name, seed=seed) for name, by_length in accuracy.items() for seed in range(3)]
    failed = make_run(folder, {}, encoding="none", info={"status": "failed", "error": '<b>nan</b> & "worse"'})
    for path in paths:
        add_example(path, 32, "abxd" if "rope" in path.name else "abcd")
        for step, reached in ((50, 0.6), (100, 0.97)):
            append_line(path / "metrics.jsonl", validation(step, reached))
        rows = {"8": ["90"], "16": ["90", "09"], "32": ["9000", "0900"]}
        attention_map = {"layer": 1, "head": 1, "pattern": "distance n", "rows": rows} if "rope" in path.name else None
        add_inspection(path, 0.9 if "rope" in path.name else 0.6, terms="learned" in path.name, attention_map=attention_map)
        add_similarity(path, [other for other in paths if other.name > path.name], 0.5)
    build.build_report([*paths, failed], "mine", folder / "results", "rpe report '<runs>'")
    return folder / "results" / "mine" / "report.html"
