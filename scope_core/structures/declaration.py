"""`Declaration`: the interception points and signals that a model offers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from scope_core.display import brief_repr
from scope_core.structures.offer import Offer
from scope_core.structures.signals import parse_signal

AttentionBias = Literal["none", "merged", "nearest", "restore"]
"""The values of the option ``attention_bias`` of a spec."""


@dataclass(frozen=True)
class Declaration:
    """The interception points and signals that a model offers.

    Attributes:
        model: Name of the model in messages, e.g. ``"LlavaForConditionalGeneration"``.
        points: Interception points, ``{name: description of the features it gives}``.
        offers: Signals that the model can give.
        reasons: ``{family: why it is not offered}``, quoted in errors.
        has_cls: True if the tower has a CLS token.
        geometry: The relation of the language model's tokens to tower patches, in words.
        placeholder: Token id of an image placeholder; None without placeholders.
        modules: Paths of the modules that the adapter changes, ``{role: path}``.
        merges: Interception points at which tokens can be merged.
        encoder: Path of the model's own method that runs tower and projector and packs their outputs, for timing;
            empty without such a method.
        decoder_layers: Number of language-model layers, each of which except the first is an interception point
            ``decoder[k]``; 0 if tokens cannot be pruned inside the language model (``reasons["decoder"]`` says why).
        places: True if tokens have rows and columns; if not, parts that read them are refused.
        takes_signals: True if callers can supply their own signals to `Pruner.attach`.
        biases: True if attention of the language model towards kept rows can be raised (``attention_bias``); if not,
            ``reasons["attention_bias"]`` may say why.
        untried: The reason why the geometry could not be tried on an image when attaching; empty if it was, or if the
            adapter tries none.
        architecture: The numbers by which a tower is told from others, e.g. "a tower of 24 layers, 16 heads, width
            1024"; empty if unknown. Calibration files name it.
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
    places: bool = True
    takes_signals: bool = True
    biases: bool = False
    untried: str = ""
    architecture: str = ""

    __repr__ = brief_repr

    def notes(self, at: str, needs: frozenset[str], merges: bool) -> tuple[str, ...]:
        """Sentences on what the model makes of a stage that prunes ``at`` a point, reads ``needs`` and ``merges``."""
        windowed = {offer.family: offer for offer in self.offers if offer.whole is not None}
        notes = []
        for name in sorted(needs):
            family, layer = parse_signal(name)
            if layer is not None and family in windowed:
                found, of = windowed[family].layer_of(layer), windowed[family].layers
                notes.append(f"{name} is that of layer {found} of {of}: other layers attend in windows")
        if merges and at in self.points and at not in self.merges:
            notes.append("tokens are merged after the projector, which does not process the tower's tokens one by one")
        if self.untried:
            notes.append(f"the geometry was not tried on an image when attaching: {self.untried}")
        return tuple(notes)

    def lacks(self, needs: frozenset[str]) -> list[str]:
        """The signals in ``needs`` that the model does not offer, sorted."""
        return sorted(name for name in needs if not any(offer.covers(name) for offer in self.offers))
