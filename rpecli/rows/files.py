"""Which files a path stands for: one file, a folder, a pattern, a pair NAME.src and NAME.tgt; and the split of each."""

import glob
import re
from dataclasses import dataclass
from pathlib import Path

from rpecli.rows.row import DataError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt", ".parquet", ".src")
SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
          "dev": "validation", "test": "test", "testing": "test", "eval": "test", "evaluation": "test"}  # fmt: skip


@dataclass(frozen=True)
class DataFile:
    """One file and the split that its name says: train, validation, test, or empty where it says none."""

    path: Path
    split: str

    @property
    def kind(self) -> str:
        return self.path.suffix.lower()


def data_files(path: str) -> list[DataFile]:
    """The files of a path, sorted.

    A folder stands for its files of data, each of which must be readable: none is left out in silence.

    Raises:
        DataError: there is no such file, a folder holds none or files of several kinds, or a file is empty.
    """
    expanded = Path(path).expanduser()
    if expanded.is_dir():
        files = [file for file in sorted(expanded.rglob("*")) if file.suffix.lower() in SUFFIXES and not file.is_dir()]
    elif expanded.is_file():
        files = [expanded]
    else:
        files = [file for file in sorted(map(Path, glob.glob(str(expanded), recursive=True))) if not file.is_dir()]
    if not files:
        raise DataError(f"{path}: there is no such file, folder or pattern of data ({', '.join(SUFFIXES)})")
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1 and expanded.is_dir():
        raise DataError(f"{path}: it holds files of several kinds ({', '.join(kinds)}): name one, as in {path}/*{kinds[0]}")
    unknown = [file for file in files if file.suffix.lower() not in SUFFIXES]
    if unknown:
        raise DataError(f"{unknown[0]}: unknown kind of file: known are {', '.join(SUFFIXES)}")
    for file in files:
        if file.stat().st_size == 0:
            raise DataError(f"{file}: this file is empty")
    return [DataFile(file, split_of(file) if len(files) > 1 else "") for file in files]


def split_of(file: Path) -> str:
    """The split that a name says: `train`, `test_5digit`, `data-00000-of-00001.test`; of a folder: `test.csv/part-0.csv`."""
    words = [*re.split(r"[^a-z]+", file.stem.lower()), file.parent.stem.lower()]
    return next((SPLITS[word] for word in words if word in SPLITS), "")
