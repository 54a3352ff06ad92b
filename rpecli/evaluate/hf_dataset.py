"""Evaluation sets as a Hugging Face `datasets` dataset: one parquet file per length, and a card.

The only module that needs `datasets`; training, and evaluation on drawn sequences, never load it.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rpecli import data
from rpecli.task import Batch, Task


def write(choice: str, task: Task, lengths: list[int], sequences: int, seed: int, out: Path) -> None:
    """Writes the evaluation sets of a task to a folder, with a card (README.md) that describes them."""
    from datasets import Dataset, Features, List, Value, disable_progress_bars

    disable_progress_bars()
    columns = Features(
        {"length": Value("int32"), "tokens": List(Value("int32")), "answer": List(Value("bool")), "text": Value("string")}
    )
    (out / "data").mkdir(parents=True, exist_ok=True)
    for length in lengths:
        rows = [
            {"length": length, "tokens": tokens, "answer": answer, "text": task.text(batch, row)}
            for batch in data.evaluation_blocks(task, length, sequences, seed)
            for row, (tokens, answer) in enumerate(zip(batch.tokens_BxT.tolist(), batch.answer_mask_BxT.tolist(), strict=True))
        ]
        Dataset.from_list(rows, features=columns).to_parquet(_file(out, length))
    (out / "README.md").write_text(_card(choice, task, lengths, sequences, seed), encoding="utf-8")


def _file(folder: Path, length: int) -> Path:
    return folder / "data" / f"length_{length}.parquet"


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
`rpe eval --data FOLDER` evaluates runs on it.
"""


def lengths(folder: Path) -> list[int]:
    """The lengths of a written dataset, ascending. Raises ValueError if there are none."""
    names = [path.stem for path in (folder / "data").glob("length_*.parquet")]
    if not names:
        raise ValueError(f"{folder}: no data/length_N.parquet there: write one with rpe data TASK --lengths 16,32 --out {folder}")
    return sorted(int(name.removeprefix("length_")) for name in names)


def read(folder: Path, length: int, sequences: int) -> Iterator[Batch]:
    """Up to `sequences` sequences of a length, in the blocks that data.evaluation_blocks would make."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:  # by default a copy of every set would stay in the home directory
        columns = Dataset.from_parquet(str(_file(folder, length)), keep_in_memory=True, cache_dir=cache)[:sequences]
    for start in range(0, len(columns["tokens"]), data.BLOCK):
        tokens, answer = (columns[key][start : start + data.BLOCK] for key in ("tokens", "answer"))
        yield Batch(np.array(tokens, dtype=np.int64), np.array(answer, dtype=bool))
