"""Evaluation sets as a Hugging Face `datasets` dataset: a parquet file a length and a card; and back again.

The only file that needs `datasets`; training and evaluation on drawn strings never load it.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rpecli import data
from rpecli.task import Batch, Task


def write(choice: str, made: Task, lengths: list[int], sequences: int, seed: int, out: Path) -> None:
    """Writes evaluation sets as a `datasets` dataset: a parquet file a length, and a card that describes the task."""
    from datasets import Dataset, Features, List, Value, disable_progress_bars

    disable_progress_bars()
    kinds = Features(
        {"length": Value("int32"), "tokens": List(Value("int32")), "answer": List(Value("bool")), "text": Value("string")}
    )
    (out / "data").mkdir(parents=True, exist_ok=True)
    for length in lengths:
        batches = list(data.evaluation_blocks(made, length, sequences, seed))
        rows = [
            {"length": length, "tokens": tokens, "answer": answer, "text": made.text(batch, row)}
            for batch in batches
            for row, (tokens, answer) in enumerate(zip(batch.tokens_BxT.tolist(), batch.answer_BxT.tolist(), strict=True))
        ]
        Dataset.from_list(rows, features=kinds).to_parquet(out / "data" / f"length_{length}.parquet")
    (out / "README.md").write_text(_card(choice, made, lengths, sequences, seed), encoding="utf-8")


def _card(choice: str, made: Task, lengths: list[int], sequences: int, seed: int) -> str:
    splits = "\n".join(f"      - split: length_{n}\n        path: data/length_{n}.parquet" for n in lengths)
    front = f"---\nconfigs:\n  - config_name: default\n    data_files:\n{splits}\n---\n"
    law = (sys.modules[type(made).__module__].__doc__ or "").strip()
    sample = made.text(made.sample(data.generator("evaluation", seed, lengths[0], 0), 1, lengths[0]))
    return f"""{front}
# {choice}

```
{law}
```

{sequences} sequences a length, evaluation seed {seed}. In `tokens`, 1 begins (>), 2 separates (|), 3 ends (.), symbol s is s + 4.
`answer` marks the tokens a model must say. First sequence of length {lengths[0]}: `{sample}`

Written by `rpe data {choice} --lengths {",".join(map(str, lengths))} --samples {sequences} --seed {seed}`.
`rpe eval --data FOLDER` measures runs on it.
"""


def lengths_of(folder: Path) -> list[int]:
    """The lengths that an exported dataset holds. Raises ValueError if it holds none."""
    found = sorted(int(path.stem.removeprefix("length_")) for path in (folder / "data").glob("length_*.parquet"))
    if not found:
        raise ValueError(f"{folder}: no data/length_N.parquet there: write one with rpe data TASK --lengths 16,32 --out {folder}")
    return found


def blocks_of(folder: Path, length: int, sequences: int) -> Iterator[Batch]:
    """The evaluation set of a length from an exported dataset, in the blocks that `evaluation_blocks` would make."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    file = str(folder / "data" / f"length_{length}.parquet")
    with tempfile.TemporaryDirectory() as cache:  # else a copy of every set would stay in the home directory
        rows = Dataset.from_parquet(file, keep_in_memory=True, cache_dir=cache)[:sequences]
    for start in range(0, len(rows["tokens"]), data.BLOCK):
        tokens, answer = (rows[key][start : start + data.BLOCK] for key in ("tokens", "answer"))
        yield Batch(np.array(tokens, dtype=np.int64), np.array(answer, dtype=bool))
