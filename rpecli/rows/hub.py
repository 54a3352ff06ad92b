"""What needs the package `datasets`: parquet files, saved data sets, and names on the hub."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rpecli.rows.readers import require_distinct, row_of
from rpecli.rows.row import DataError, Row

SAVED = ("dataset_info.json", "dataset_dict.json")  # files in a folder that `save_to_disk` wrote


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a data set that `save_to_disk` wrote."""
    return any((folder / name).is_file() for name in SAVED)


def is_hub_name(path: str) -> bool:
    """Whether a path that is no file may be a name on the hub: `owner/name`, `owner/name-1.5`."""
    parts, suffix = path.split("/"), Path(path).suffix
    is_file = suffix and not suffix[1:].isdigit()
    return len(parts) == 2 and all(parts) and not is_file and not any(character in path for character in "*?[~")


def parquet(path: Path) -> Iterator[Row]:
    """The rows of a parquet file."""
    import pyarrow
    import pyarrow.parquet

    try:
        require_distinct(pyarrow.parquet.read_schema(path).names, str(path))
        records = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a parquet file: {str(error).splitlines()[0]}") from None
    yield from _rows(records, str(path))


def saved(folder: Path) -> dict[str, list[Row]]:
    """The rows of a saved data set, by split; the split of one without splits is empty."""
    from datasets import DatasetDict, disable_progress_bars, load_from_disk

    disable_progress_bars()
    try:
        data = load_from_disk(str(folder))
    except Exception as error:  # whatever a foreign folder holds
        raise DataError(f"{folder}: this saved data set does not load: {str(error).splitlines()[0]}") from None
    splits = dict(data) if isinstance(data, DatasetDict) else {"": data}
    return {str(name): list(_rows(list(split), f"{folder}/{name}")) for name, split in splits.items()}


def named(name: str) -> dict[str, list[Row]]:
    """The rows of a data set on the hub, by split."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    try:
        splits = load_dataset(name)
    except Exception as error:  # no network, no such name, a gated one, a script
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        offline = "; without a network, name a local file" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise DataError(f"{name}: no such file, and not loaded from the hub: {cause[:200]}{offline}") from None
    return {str(split): list(_rows(list(rows), f"{name}/{split}")) for split, rows in splits.items()}


def _rows(records: list[dict[str, Any]], name: str) -> Iterator[Row]:
    for number, record in enumerate(records, 1):
        yield row_of(record, name, number)
