"""The limits of the control groups (Linux) that this process is in: a container, a job of a cluster, a systemd unit.

A group has a folder under /sys/fs/cgroup, and so has every group around it; each may set a limit. Version 2 has one tree,
version 1 one for each controller. Inside a container its own group may be mounted as the root of the tree.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

GROUPS, TREE = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # version 1 writes about 2^63 where there is no limit


def memory_limits() -> list[tuple[int, int]]:
    """The limit of every group that has one, and the bytes in use that the kernel cannot drop."""
    limits = []
    for folder in _folders("memory"):
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < UNLIMITED:
            limits.append((limit, max(0, used - _file_cache(folder))))
    return limits


def cpu_quota() -> float | None:
    """The number of cores whose time all processes of the group may use together; None: no limit."""
    quotas = []
    for folder in _folders("cpu"):
        with suppress(OSError, ValueError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota, period = ((folder / f"cpu.cfs_{key}_us").read_text() for key in ("quota", "period"))
            if int(quota) > 0:
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """The folder of this process's group and those of the groups around it, in both versions' trees."""
    with suppress(OSError):
        for line in GROUPS.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = TREE / controllers if controllers else TREE
            folder = root / group.lstrip("/")
            yield from (path for path in [folder, *folder.parents] if path.is_relative_to(root) and path.is_dir())


def _number(*files: Path) -> int | None:
    """What the first of these files says that is there; None if it is no number."""
    for file in files:
        with suppress(OSError, ValueError):
            return int(file.read_text())
    return None


def _file_cache(folder: Path) -> int:
    """Bytes of files that the group has read and the kernel can drop."""
    with suppress(OSError, ValueError):
        lines = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return int(lines.get("total_inactive_file", lines.get("inactive_file", 0)))
    return 0
