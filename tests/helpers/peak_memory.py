"""The peak of all tensors that a call makes, counted as they come and go: no clock, no allocator, the same on every machine."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Counted(TorchDispatchMode):
    def __init__(self, known: set[int]):
        super().__init__()
        self.known, self.live, self.now, self.peak = known, dict[int, Any](), 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, Tensor):
                self._note(each.untyped_storage())
        return out

    def _note(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self.live or key in self.known:
            return

        def gone(_: Any) -> None:
            del self.live[key]
            self.now -= size

        self.live[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def peak(call: Callable[[], object], known: Iterable[Tensor]) -> int:
    """Bytes of what `call` makes; `known` were there before."""
    with _Counted({each.untyped_storage()._cdata for each in known}) as counted:
        call()
    return counted.peak
