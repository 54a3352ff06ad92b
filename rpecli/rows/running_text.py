"""Running text from files, as one array of tokens."""

import glob
from functools import lru_cache
from pathlib import Path

import numpy as np

from rpecli import catalog
from rpecli.rows.readers import text_of
from rpecli.rows.row import DataError

SHIPPED = Path(__file__).with_name("carroll.txt")  # Lewis Carroll's two books about Alice, 1865 and 1871: public domain
WHITE = {" ": "\\s", "\n": "\\n", "\t": "\\t", "\r": "\\r"}  # how white space is written


def load(path: str, tokens: str, separator: str = "") -> tuple[np.ndarray, list[str]]:
    """All tokens of the files of a path, `[N]`, and how each symbol is written; read once for as long as the files do not change.

    Args:
        path: A file, a folder, all files of which are read, or a pattern; files are joined in the order of their names.
        tokens: `byte`: 256 symbols; `char`: the characters that occur, in their order.
        separator: Text between two files.

    Raises:
        DataError: there is no such file, or nothing in it, or it is not UTF-8.
    """
    return _load(path, tokens, separator, catalog.data_fingerprint(path))


@lru_cache(maxsize=4)
def _load(path: str, tokens: str, separator: str, _: str) -> tuple[np.ndarray, list[str]]:
    return encode(separator.join(map(text_of, _files(path))), tokens, path)


def _files(path: str) -> list[Path]:
    root = Path(path).expanduser()
    found = sorted(root.rglob("*")) if root.is_dir() else [root] if root.is_file() else sorted(map(Path, glob.glob(str(root))))
    files = [file for file in found if file.is_file() and not file.name.startswith(".")]
    if not files:
        raise DataError(f"{path}: there is no such file, folder or pattern of text")
    return files


def encode(text: str, tokens: str, path: str = "the text") -> tuple[np.ndarray, list[str]]:
    """A text as symbols, `[N]`, and how each symbol is written."""
    encoded = np.frombuffer(text.encode(), np.uint8) if tokens == "byte" else np.frombuffer(text.encode("utf-32-le"), "<u4")
    if len(encoded) < 20:
        raise DataError(f"{path}: {len(encoded)} tokens are too few to train on some and hold out others")
    if tokens == "byte":
        return encoded, [_byte(value) for value in range(256)]
    characters, symbols_N = np.unique(encoded, return_inverse=True)
    return symbols_N.astype(np.int32), [WHITE.get(chr(code), chr(code)) for code in characters.tolist()]


def _byte(value: int) -> str:
    character = chr(value)
    return WHITE.get(character) or (character if 32 < value < 127 else f"\\x{value:02x}")
