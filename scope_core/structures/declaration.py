"""`Declaration`: what a model offers to pruning, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from scope_core.structures.signals import Offer


@dataclass(frozen=True)
class Declaration:
    """What a model offers to pruning, as data.

    Attributes:
        model: How to name the model in messages, e.g. ``"LlavaForConditionalGeneration"``.
        points: Interception points, ``{name: which tokens' features it gives}``.
        offers: Signals the model can give.
        reasons: ``{family: why it is not offered}``, quoted in errors.
        has_cls: Whether the tower has a CLS token.
        geometry: How the language model's tokens relate to tower patches, in words.
        placeholder: Token id of an image placeholder; None where there is none.
        modules: Module paths the adapter will touch, resolved.
        merges: Interception points at which tokens can be merged.
        encoder: Path of the model's own method that runs tower and projector and packs what they return, for those who
            time it; empty where there is none.
        decoder_layers: Layers of the language model, each of which but the first is an interception point
            ``decoder[k]``; 0 where tokens cannot be pruned inside it (``reasons["decoder"]`` says why).
        takes_signals: Whether callers can supply signals of their own, as `Pruner.attach` takes them.
    """

    model: str
    points: dict[str, str]
    offers: tuple[Offer, ...]
    reasons: dict[str, str] = field(default_factory=dict)
    has_cls: bool = False
    geometry: str = "one token per patch"
    placeholder: int | None = None
    modules: dict[str, str] = field(default_factory=dict)
    merges: frozenset[str] = frozenset({"projected"})
    encoder: str = ""
    decoder_layers: int = 0
    takes_signals: bool = True

    def lacks(self, needs: frozenset[str]) -> list[str]:
        """The signals in ``needs`` that are not offered, sorted."""
        return sorted(name for name in needs if not any(offer.covers(name) for offer in self.offers))
