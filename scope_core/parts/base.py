"""`Part`: the base class of all parts. Each kind of part has its own file in this folder.

A part is stateless and re-entrant: it is built from a frozen spec, and stores nothing about a call on ``self``.
Shapes: B groups of tokens, N candidate tokens, K kept tokens, D feature width.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from scope_core.registry.specs import ComponentSpec
from scope_core.structures.calibration import Calibration
from scope_core.structures.declaration import Declaration

S = TypeVar("S", bound=ComponentSpec)


def parts_in(slots: Mapping[str, Any]) -> tuple[Part[Any], ...]:
    """The parts in a table of slots; a slot holds a part or a tuple of parts."""
    return tuple(part for value in slots.values() for part in (value if isinstance(value, tuple) else (value,)))


class Part(ABC, Generic[S]):
    """A part, built from its spec.

    Attributes:
        spec: The frozen options that the part was built from.
        parts: The parts in the spec's slots, by field name.
        kind: Kind of part, e.g. ``"saliency"``; set by the registry.
        origin: ``"distribution version"`` that the part came from, for messages; set by the registry.
        reads_places: True if the part reads rows and columns of tokens, so that it is refused where models have none.
        reach: ``(before, after)``, the frames around its own that a token's result depends on, where the part gets a
            whole video as one group: none, for what reads tokens one by one. None: it may depend on all of them, so
            that a stream of frames refuses the part (`Pruner.stream`).
        calibration: The measured file that it reads, so that models other than the measured one are refused; or None.
        copies: How often it holds the vectors that it is given, or as many numbers of their dtype, at once beside them,
            at most; 2 for a copy in float64 of float32. The parts inside count by themselves. Plans count with it.
        shortcuts: ``{optional member: methods}``: each optional member computes the same as those methods, faster. A
            subclass that overrides one of the methods, and not the member, gets the interface's value for the member.
    """

    kind: str = ""
    origin: str = ""
    calibration: Calibration | None = None
    reads_places: ClassVar[bool] = False
    reach: ClassVar[tuple[int, int] | None] = None
    copies: ClassVar[float] = 1.0
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for shortcut, methods in cls.shortcuts.items():
            definer = next(base for base in cls.__mro__ if not vars(base).keys().isdisjoint((shortcut, *methods)))
            if shortcut not in vars(definer):
                interface = next(base for base in reversed(cls.__mro__) if shortcut in vars(base))
                setattr(cls, shortcut, vars(interface)[shortcut])

    def __init__(self, spec: S, parts: Mapping[str, Any] | None = None) -> None:
        self.spec = spec
        self.parts: Mapping[str, Any] = parts or {}

    @property
    def needs(self) -> frozenset[str]:
        """Names of the signals that this part itself reads (see `scope_core.structures.signals`); empty by default."""
        return frozenset()

    def misfit(self, declaration: Declaration) -> str:
        """The reason why this part does not go with a model, beyond signals and places; empty if it does.

        By default, it is that `calibration` was measured on another model.
        """
        return "" if self.calibration is None else self.calibration.misfit(declaration)

    @property
    def inner(self) -> tuple[Part[Any], ...]:
        """The parts in this part's slots, in order."""
        return parts_in(self.parts)

    @property
    def held(self) -> float:
        """`copies` of this part and of the parts inside it at once; parts inside work one after another."""
        return self.copies + max((part.held for part in self.inner), default=0.0)

    @property
    def all_needs(self) -> frozenset[str]:
        """Names of the signals that this part and all parts inside it read."""
        empty: frozenset[str] = frozenset()
        return empty.union(*(part.needs for part in self.walk()))

    @property
    def equivariant(self) -> bool:
        """True if reordering the tokens reorders the result and changes nothing else.

        By default true if all parts inside are; set ``equivariant = False`` if the part reads the order of tokens or
        draws at random.
        """
        return all(part.equivariant for part in self.inner)

    def walk(self) -> Iterator[Part[Any]]:
        """This part and all parts inside it."""
        yield self
        for part in self.inner:
            yield from part.walk()

    def __repr__(self) -> str:
        return f"<{self.kind or type(self).__name__} {self}>"

    def __str__(self) -> str:
        return f"'{self.spec.name}'" + (f" ({self.origin})" if self.origin else "")
