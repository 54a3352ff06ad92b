"""Files of tensors, `weights.safetensors` and `checkpoint.safetensors`, with a checksum: a changed byte anywhere is noticed.

The checksum is the SHA-256 of the whole file in which its own 64 digits are zeros. It is the only key of the file's metadata, so
any program that reads safetensors files reads these.
"""

import hashlib
import json
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from rpecli.run.files import RunError, write_bytes

CHECKSUM, BLANK = "checksum", "0" * 64
HEADER_SIZE = 8  # bytes at the start of a file that hold the length of its header


def write(path: Path, state: dict[str, Tensor]) -> None:
    """Writes tensors in one step: a reader finds the old file or the new one."""
    blank = save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, {CHECKSUM: BLANK})
    write_bytes(path, blank.replace(BLANK.encode(), hashlib.sha256(blank).hexdigest().encode(), 1))


def read(path: Path, remedy: str) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises RunError, with `remedy`, for a damaged file, and for one that cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if not (checksum := _stated_checksum(content)):
        raise RunError(f"{path} has no checksum, so it is damaged or not written by this version of rpe: {remedy}")
    if checksum != hashlib.sha256(content.replace(checksum, BLANK.encode(), 1)).hexdigest().encode():
        raise RunError(f"{path} is damaged (its checksum does not match): {remedy}")
    return load(content)


def _stated_checksum(content: bytes) -> bytes | None:
    """The checksum that a file states; None if its header does not parse or states none."""
    size = int.from_bytes(content[:HEADER_SIZE], "little")
    try:
        checksum = json.loads(content[HEADER_SIZE : HEADER_SIZE + size])["__metadata__"][CHECKSUM]
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    return checksum.encode() if isinstance(checksum, str) and len(checksum) == len(BLANK) else None
