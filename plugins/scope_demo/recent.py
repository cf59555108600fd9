"""`Recent`: values that were asked for lately."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """A cache of the values that were asked for last, for several threads; a value is made by one thread at a time.

    Args:
        most: Largest number of values.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.values: OrderedDict[Hashable, V] = OrderedDict()
        self.lock, self.making = threading.RLock(), threading.RLock()

    def get(self, key: Hashable, make: Callable[[], V], *, fresh: Callable[[V], bool] = lambda value: True) -> V:
        """The value of ``key``, made if it is not known or not ``fresh``."""
        if (found := self._known(key, fresh)) is not None:  # who asks for a known value waits for nobody
            return found[0]
        with self.making:
            if (found := self._known(key, fresh)) is not None:
                return found[0]
            value = make()
            with self.lock:
                self.values[key] = value
                self.values.move_to_end(key)
                while len(self.values) > self.most:
                    self.values.popitem(last=False)
            return value

    def _known(self, key: Hashable, fresh: Callable[[V], bool]) -> tuple[V] | None:
        with self.lock:
            if key not in self.values or not fresh(self.values[key]):
                return None
            self.values.move_to_end(key)
            return (self.values[key],)
