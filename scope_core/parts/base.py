"""`Part`: what all kinds of parts have in common. Each kind has a file beside this one.

Every part is stateless and re-entrant: a frozen spec goes in, results come out, and nothing about a call
is stored on ``self``. Shapes: B groups selected together, N candidate tokens, K kept, D feature width.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from scope_core.registry.specs import ComponentSpec

S = TypeVar("S", bound=ComponentSpec)


def held(slots: Mapping[str, Any]) -> tuple[Part[Any], ...]:
    """The parts in a table of slots, each of which holds a part or a tuple of parts."""
    return tuple(part for value in slots.values() for part in (value if isinstance(value, tuple) else (value,)))


class Part(ABC, Generic[S]):
    """A live part: its spec, and the signals it reads.

    Attributes:
        spec: The frozen options it was built from.
        parts: The live parts in the spec's slots, by field name.
        kind: Kind of part; stamped when it is built.
        origin: ``"distribution version"`` it came from, likewise; used in messages.
        shortcuts: Optional members, None where there are none, each with the methods that it answers for. A subclass
            that changes one of those and gives no shortcut of its own has none.
    """

    kind: str = ""
    origin: str = ""
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for shortcut, methods in cls.shortcuts.items():
            nearest = next(one for one in cls.__mro__ if not vars(one).keys().isdisjoint((shortcut, *methods)))
            if shortcut not in vars(nearest):
                setattr(cls, shortcut, None)

    def __init__(self, spec: S, parts: Mapping[str, Any] | None = None) -> None:
        self.spec = spec
        self.parts: Mapping[str, Any] = parts or {}

    @property
    def needs(self) -> frozenset[str]:
        """Names of the signals this part itself reads (see `scope_core.structures.signals`). None by default."""
        return frozenset()

    @property
    def inner(self) -> tuple[Part[Any], ...]:
        """The parts in its slots, in their order."""
        return held(self.parts)

    @property
    def all_needs(self) -> frozenset[str]:
        """Names of the signals that this part and all parts inside it read."""
        none: frozenset[str] = frozenset()
        return none.union(*(part.needs for part in self.walk()))

    @property
    def equivariant(self) -> bool:
        """Whether reordering the tokens reorders what it gives, and changes nothing else.

        So it is where all parts inside are; ``equivariant = False`` for one that reads the order or draws at random.
        """
        return all(part.equivariant for part in self.inner)

    def walk(self) -> Iterator[Part[Any]]:
        """This part and all parts inside it."""
        yield self
        for part in self.inner:
            yield from part.walk()

    def __str__(self) -> str:
        return f"'{self.spec.name}'" + (f" ({self.origin})" if self.origin else "")
