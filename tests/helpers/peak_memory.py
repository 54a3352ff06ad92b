"""The peak of all tensors that a call creates, counted as they come and go: no clock, no allocator, the same on every machine."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _StorageCounter(TorchDispatchMode):
    """Adds up the bytes of the storages that operations return, except `ignored` ones, until they are freed."""

    def __init__(self, ignored: set[int]):
        super().__init__()
        self.ignored, self.live, self.current, self.peak = ignored, dict[int, Any](), 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.live or key in self.ignored:
            return

        def freed(_: Any) -> None:
            del self.live[key]
            self.current -= size

        self.live[key] = weakref.ref(storage, freed)
        self.current += size
        self.peak = max(self.peak, self.current)


def peak(call: Callable[[], object], ignored: Iterable[Tensor]) -> int:
    """The bytes of tensors that `call` creates, at their peak; `ignored` ones existed before."""
    with _StorageCounter({tensor.untyped_storage()._cdata for tensor in ignored}) as counter:
        call()
    return counter.peak
