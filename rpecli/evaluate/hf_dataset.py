"""Writes evaluation sets as a Hugging Face `datasets` dataset: one parquet file per length, a card, and dataset.json.

Training, and evaluation on drawn sequences, never load `datasets`.
"""

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from rpecli import data
from rpecli.device import available_memory
from rpecli.evaluate.data_set import FACTS, FORMAT, DataSetError, length_file, open_set, task_facts
from rpecli.run.files import write_bytes
from rpecli.task import Batch, Task

CARD = "README.md"
BYTES_PER_TOKEN = 200  # that a set takes while it is written: lists of Python numbers, text, columns


def write(choice: str, task: Task, lengths: list[int], sequences: int, seed: int, out: Path) -> None:
    """Writes the evaluation sets of a task to a folder; a set that `rpe data` wrote there is replaced as a whole.

    Raises DataSetError where the folder holds files that are not of such a set, and OSError where it cannot be written.
    """
    sets = {length: list(data.evaluation_blocks(task, length, sequences, seed)) for length in lengths}
    files = {f"data/{length_file(out, length).name}": _parquet(task, length, blocks) for length, blocks in sets.items()}
    files[CARD] = _card(choice, task, lengths, sequences, seed).encode()
    facts = {
        "format": FORMAT,
        "choice": choice,
        "task": task_facts(choice),
        "samples": sequences,
        "seed": seed,
        "lengths": {str(length): data.fingerprint(blocks) for length, blocks in sets.items()},
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    old = _own_files(out, list(files))
    (out / "data").mkdir(parents=True, exist_ok=True)
    write_bytes(out / FACTS, (json.dumps(facts, indent=1) + "\n").encode())  # first: it says which files here are ours
    for path in old:
        path.unlink(missing_ok=True)
    for name, content in files.items():
        write_bytes(out / name, content)


def check_size(n_tokens: int) -> None:
    """Raises DataSetError where sets of so many tokens would not fit in memory while they are written."""
    needed, available = BYTES_PER_TOKEN * n_tokens, available_memory()
    if needed > available:
        raise DataSetError(
            f"the sets need about {needed / 2**30:,.0f} GiB of memory, {available / 2**30:.0f} GiB are free: "
            "write shorter --lengths or fewer --samples"
        )


def check_folder(out: Path, lengths: list[int]) -> None:
    """Raises DataSetError where `write` would, before anything is drawn."""
    _own_files(out, [CARD, *(f"data/{length_file(out, length).name}" for length in lengths)])


def _own_files(out: Path, names: list[str]) -> list[Path]:
    """The files of the set in a folder, none without one. Raises DataSetError where a file to write is not one of them."""
    for path in (out, out / "data"):
        if path.exists() and not path.is_dir():
            raise DataSetError(f"{path} is a file where a folder is needed: choose another --out")
    try:
        own = open_set(out).facts["files"] if (out / FACTS).exists() else {}
    except DataSetError:
        raise DataSetError(f"{out / FACTS} is not of a set of this version of rpe: choose another --out, or move it") from None
    for name in dict.fromkeys([*names, *own]):
        path = out / name
        if path.exists() and not (path.is_file() and own.get(name) == hashlib.sha256(path.read_bytes()).hexdigest()):
            raise DataSetError(f"{path} is not as rpe data wrote it, and would be overwritten: choose another --out, or move it")
    others = sorted(path.name for path in (out / "data").glob("*.parquet") if f"data/{path.name}" not in own)
    if others:
        raise DataSetError(f"{out}/data holds {others[0]}, which is of another data set: choose another --out")
    return [out / name for name in own if name not in names]


def _parquet(task: Task, length: int, blocks: list[Batch]) -> bytes:
    """The sequences of a length as a parquet file."""
    from datasets import Dataset, Features, List, Value, disable_progress_bars

    disable_progress_bars()
    columns = {"length": Value("int32"), "tokens": List(Value("int32")), "answer": List(Value("bool")), "text": Value("string")}
    if task.predicts_sets:
        columns["sets"] = List(Value("int64"))
    rows = [row for batch in blocks for row in _rows(task, length, batch)]
    file = io.BytesIO()
    Dataset.from_list(rows, features=Features(columns)).to_parquet(file)
    return file.getvalue()


def _rows(task: Task, length: int, batch: Batch) -> list[dict[str, Any]]:
    rows = [
        {"length": length, "tokens": tokens, "answer": answer, "text": task.text(batch, row)}
        for row, (tokens, answer) in enumerate(zip(batch.tokens_BxT.tolist(), batch.answer_mask_BxT.tolist(), strict=True))
    ]
    if batch.sets_BxT is None:
        return rows
    return [row | {"sets": sets} for row, sets in zip(rows, batch.sets_BxT.tolist(), strict=True)]


def _card(choice: str, task: Task, lengths: list[int], sequences: int, seed: int) -> str:
    splits = "\n".join(f"      - split: length_{n}\n        path: data/length_{n}.parquet" for n in lengths)
    front_matter = f"---\nconfigs:\n  - config_name: default\n    data_files:\n{splits}\n---\n"
    description = (sys.modules[type(task).__module__].__doc__ or "").strip()
    (block,) = data.evaluation_blocks(task, lengths[0], 1, seed)
    return f"""{front_matter}
# {choice}

```
{description}
```

{sequences} sequences per length, evaluation seed {seed}. In `tokens`, 1 begins (>), 2 separates (|), 3 ends (.), and symbol s is
s + 4. `answer` marks the tokens that a model has to predict. The first sequence of length {lengths[0]}: `{task.text(block)}`

Written by `rpe data {choice} --lengths {",".join(map(str, lengths))} --samples {sequences} --seed {seed}`.
`rpe eval --data FOLDER` evaluates runs of this task on it; `dataset.json` says what it holds.
"""
