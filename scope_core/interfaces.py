"""What each kind of part must do. Subclass one, give it a spec, register it with a hook.

Every part is stateless and re-entrant: a frozen spec goes in, results come out, and nothing about a call
is stored on ``self``. Shapes: B groups selected together, N candidate tokens, K kept, D feature width.

This module does not import torch, so that parts can be listed without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from scope_core.registry.specs import ComponentSpec

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core.engine import Problem
    from scope_core.parts.execution import Execution, Way
    from scope_core.parts.kernel import Kernel
    from scope_core.structures.layout import Group, Layout
    from scope_core.structures.selection import Selection
    from scope_core.structures.tokens import VisualTokens

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


class SaliencySource(Part[S]):
    """How much each token matters on its own.

    Attributes:
        nonnegative: Whether every score is at least 0, as powers (``saliency ** alpha``) require.
    """

    nonnegative: ClassVar[bool] = True

    @abstractmethod
    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) floating point; higher means keep. Padding may hold any finite number."""


class SimilarityMetric(Part[S]):
    """How alike two tokens are.

    Attributes:
        symmetric: Whether ``S[i, j] == S[j, i]``.
        bounds: Lowest and highest possible value; None where unbounded.
        matrices: How many N x N matrices `pairwise` holds at once, its result included.
        vectors: Optional method ``vectors(tokens)``: (B, N, C) floating-point vectors whose dot products `pairwise`
            gives, up to rounding. With them, more tokens can be selected from than their matrix has room for.
    """

    symmetric: ClassVar[bool] = True
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)
    matrices: ClassVar[float] = 2
    vectors: Callable[[VisualTokens], Tensor | None] | None = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"vectors": ("pairwise",)}

    @abstractmethod
    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) floating point: entry (i, j) is how well token j stands for token i.

        A tensor of its own, which the caller may change: padding is set to 0 in place.
        """


class CoverageFunction(Part[S]):
    """A set function, given through its marginal gain.

    ``start`` makes a state for the empty set, ``gain`` reads it, ``add`` returns the state with one more
    token per group. A state may be any object; ``add`` may change it in place and return it.

    Attributes:
        uses_similarity: False lets the N x N matrix be skipped; ``start`` then gets None for it.
        monotone: Whether every gain is at least 0.
        submodular: Whether gains never grow as the set grows.
        nonnegative_similarity: Whether similarities below 0 are outside its definition.
        matrices: How many N x N matrices of the similarity's dtype its states take beside the similarity, at most.
        kernel: Optional: the same picks in less time, or without the matrix.
    """

    uses_similarity: ClassVar[bool] = True
    monotone: ClassVar[bool] = False
    submodular: ClassVar[bool] = False
    nonnegative_similarity: ClassVar[bool] = False
    matrices: ClassVar[float] = 2
    kernel: ClassVar[Kernel | None] = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"kernel": ("start", "gain", "add")}

    @abstractmethod
    def start(self, similarity: Tensor, tokens: VisualTokens) -> Any:
        """The state of the empty set. ``similarity`` is (B, N, N), rows and columns of padding zero."""

    @abstractmethod
    def gain(self, state: Any) -> Tensor:
        """(B, N): what each token would add to the set. Values of tokens already picked are ignored."""

    @abstractmethod
    def add(self, state: Any, pick: Tensor) -> Any:
        """The state after adding token ``pick[b]`` to group b.

        Args:
            state: From `start`, or an earlier `add`.
            pick: (B,) int64. Groups that are already full get an arbitrary index; their gains are ignored.
        """


class Combiner(Part[S]):
    """How gain and saliency make one score.

    Attributes:
        uses_saliency: False lets the saliency source be skipped; ``combine`` then gets ones.
        uses_coverage: False lets the similarity matrix be skipped.
        matrices: How many N x N matrices `condition` holds at once beside the similarity, its result included.
        condition: Optional method ``condition(similarity, saliency)``: the (B, N, N) similarity that the coverage
            function sees in place of the metric's, e.g. the kernel of a DPP. ``saliency`` is after `prepare`.
        affine: Optional method ``affine(saliency)``: ``(scale, offset)``, (B, N) each, such that `combine` is
            ``gain * scale + offset`` for every gain; None for saliency that makes no such score. ``saliency`` is after
            `prepare`. A coverage function's `Kernel` can serve combiners that have it.
    """

    uses_saliency: ClassVar[bool] = True
    uses_coverage: ClassVar[bool] = True
    matrices: ClassVar[float] = 2
    condition: Callable[[Tensor, Tensor], Tensor] | None = None
    affine: Callable[[Tensor], tuple[Tensor, Tensor] | None] | None = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"affine": ("combine",)}

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) saliency as `combine` wants it, computed once per call instead of once per pick."""
        return saliency

    @abstractmethod
    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) score; the highest is picked.

        Args:
            gain: (B, N) from the coverage function.
            saliency: (B, N), after `prepare`.
        """


@dataclass(frozen=True)
class Picks:
    """What an optimizer returns: (B, K) each, -1 (picks) and NaN (gains, scores) where a row is shorter."""

    picks: Tensor
    gains: Tensor
    scores: Tensor


class Optimizer(Part[S]):
    """How picks are made from scores.

    Groups are independent of each other, and large ones may come one at a time.

    Attributes:
        exact: Whether its picks are those of exact greedy, ties to the lowest index.
        ways: How its picks can be made: what it gives `greedy`. The matrix alone, if it does not say.
    """

    exact: ClassVar[bool] = False
    ways: ClassVar[tuple[Way, ...]] = ("dense",)

    @abstractmethod
    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """``keep[b]`` picks of each group, from ``problem.candidates`` only, each at most once."""


class Selector(Part[S]):
    """A whole selection step: tokens and counts in, a selection out."""

    @abstractmethod
    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Exactly ``keep[b]`` valid tokens of each group, ``tokens.required`` among them."""

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """How similarities are handled, as far as sizes alone tell: as the selectors inside do, one after the other.

        Pure. To be changed by a selector that makes similarities itself, or gives those inside fewer tokens.

        Args:
            sizes: Tokens of each group.
            itemsize: Bytes of a number: 4 for float32.
            free: Bytes that are free; None where it is not known.
        """
        from scope_core.parts.execution import Execution

        return Execution.of(part.execution(sizes, itemsize, free) for part in self.inner if isinstance(part, Selector))


class Budget(Part[S]):
    """How many tokens each group keeps. Pure: depends on shapes alone.

    Attributes:
        adaptive: Whether `refine` may lower the planned counts once signals are there. Servers that must
            know the prompt's length beforehand refuse such budgets.
        additive: Whether an image keeps as many tokens however a partition cuts it into groups.
    """

    adaptive: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    @abstractmethod
    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Tokens to keep of each group (see `scope_core.structures.layout.fill`).

        Raises:
            BudgetError: the images cannot meet the budget; names the image.
        """

    def refine(self, counts: tuple[int, ...], tokens: VisualTokens) -> tuple[int, ...]:
        """Counts after looking at the tokens; at most the planned ones."""
        return counts


class Partition(Part[S]):
    """Which tokens are selected together. Pure."""

    @abstractmethod
    def split(self, layout: Layout) -> tuple[Group, ...]:
        """Groups of spans that hold every candidate token exactly once."""


class Constraint(Part[S]):
    """Tokens that must stay or must go."""

    def must_keep(self, tokens: VisualTokens) -> Tensor | None:
        """(B, N) bool, True for tokens that must be kept; None for no opinion."""
        return None

    def must_drop(self, tokens: VisualTokens) -> Tensor | None:
        """(B, N) bool, True for tokens that are no candidates; None for no opinion."""
        return None


class Merger(Part[S]):
    """What becomes of dropped tokens.

    A merger sees one group at a time as the rows of a `Selection`; one image where a group holds several images.

    Attributes:
        mixes: False where nothing is ever merged, so that hosts need not be able to.
    """

    mixes: ClassVar[bool] = True

    def extra(self, tokens: int, rows: int) -> tuple[int, int]:
        """Rows that it adds before and after the kept tokens of a group. Pure. They count against the budget.

        Args:
            tokens: Candidate tokens of the group.
            rows: What the budget gives it: the selector picks ``rows - before - after`` tokens.
        """
        return 0, 0

    @property
    def uses_cls(self) -> bool:
        """Whether `weights` has one more column, for the CLS token; needs the signal ``vision.cls[l]``."""
        return False

    @abstractmethod
    def weights(self, selection: Selection) -> Tensor | None:
        """How the rows that the language model gets are mixed from all tokens; None for no merging.

        Args:
            selection: One row per group; ``selection.allotted`` is what the budget gives each, `extra` included.

        Returns:
            (B, before + K + after, N) floating point, (B, before + K + after, N + 1) with `uses_cls`: the most that
            any group has of each. The rows in the middle stand for the kept tokens in the order of
            ``selection.arranged``; a shorter group uses the first rows of each of the three, the rest is ignored.
        """


class PositionPolicy(Part[S]):
    """Position ids after pruning.

    Attributes:
        gapped: Whether the numbers may skip some. Hosts then give an explicit mask, and refuse calls in which
            a gap would be taken for the start of another sequence.
    """

    gapped: ClassVar[bool] = False

    @abstractmethod
    def position_ids(self, full: Tensor, index: Tensor, kept: Tensor) -> Tensor | None:
        """Position ids of the shortened prompt.

        Args:
            full: (B, L) position ids of the full prompt.
            index: (B, L') int64, which position of the full prompt each remaining one was.
            kept: (B, L') bool, False for padding.

        Returns:
            (B, L') position ids; None lets the model number the shortened prompt itself.
        """
