"""The engine's spec for its model: specs of requests, and the number of rows of an image or a video.

The same code, from the model's config alone, runs where prompts are sized and where they are encoded, so the two
cannot disagree.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any

from scope_adapters.serving.geometry import Geometry, Size, geometry_of
from scope_adapters.serving.rehearsal import extremes, rehearse, rehearse_size
from scope_adapters.serving.requested import KEY as KEY
from scope_adapters.serving.requested import check as check_request
from scope_adapters.serving.servable import check, refusals, refuse
from scope_adapters.serving.sizes import IMAGE, VIDEO, article, medium
from scope_core import BudgetError, Pruner, ScopeError, SpecError, __version__, default_registry

LONGEST = 50_000
"""Characters of JSON of a request's spec."""


class Served:
    """The engine's spec.

    Args:
        config: The model's config, with the spec as its attribute `KEY`.

    Raises:
        ScopeError: the spec is missing or wrong, or cannot be served on this model.
    """

    def __init__(self, config: Any) -> None:
        value = getattr(config, KEY, None)
        if value is None:
            raise SpecError(
                f"the engine was given the architecture {', '.join(config.architectures or ['?'])} but no pruner; set "
                f'hf_overrides={{"architectures": [...], "{KEY}": "scope@64"}}, or use the checkpoint\'s own '
                f"architecture for no pruning"
            )
        self.config = config
        self.registry = default_registry()
        self.pruner = functools.lru_cache(64)(self._pruner)
        self.geometry = functools.lru_cache(64)(self._geometry)
        self._counted = functools.lru_cache(4096)(self._rows)
        self._text = functools.lru_cache(256)(self._asked)
        self.refusals = functools.lru_cache(256)(self._refusals)
        default = Pruner(value, registry=self.registry)
        refuse(default, geometry_of(config, _adapter(default)))
        self.default = written(default)
        """The engine's spec, written out; used for requests without a spec."""
        self.largest = max(geometry_of(config).canvases, key=self._load)
        """(height, width) of an image with the most rows and, among those, the most tiles."""
        if not self.refusals(self.default).get(IMAGE, "") and self.rows(self.default, self.largest) < 1:
            raise SpecError(f"{default.label} keeps no token of any image; vLLM needs at least one for each image")

    @property
    def media(self) -> list[str]:
        """The media that the engine serves."""
        return [name for name, reason in self.refusals(self.default).items() if not reason]

    def refusal(self, medium: str, text: str | None = None) -> str:
        """The reason why a medium is refused under a spec, by default the engine's; empty if it is not.

        Args:
            medium: ``"image"`` or ``"video"``.
            text: A spec, from `asked`.
        """
        reasons = self.refusals(text or self.default)
        if medium not in reasons:
            host = self.geometry(self.default).host
            return f"{medium}s are not served for {host} with pruning; give {', '.join(reasons)}s"
        label = self.pruner(text or self.default).label
        return f"{medium}s are refused with {label}: {reasons[medium]}" if reasons[medium] else ""

    def rehearse(self) -> None:
        """Prune invented features by the engine's spec, so that a spec that can fail is refused at the start.

        Raises:
            SpecError: a part fails on features, or on a size, that a worker may meet.
        """
        self._rehearse(self.default, extremes)

    def facts(self, model: str) -> dict[str, str]:
        """What is served, for a log line and a metric: spec, budgets of the largest image and of a video, versions."""
        return {
            "spec": self.pruner(self.default).label,
            "budget": self.refusal(IMAGE) or self._budget(self.largest),
            "videos": self.refusal(VIDEO) or self._budget(self.geometry(self.default).rehearsed_videos[-1]),
            "model": model,
            "scope_core": __version__,
            **{name: str(getattr(sys.modules.get(name), "__version__", "")) for name in ("vllm", "transformers")},
        }

    def _budget(self, size: Size) -> str:
        geometry = self.geometry(self.default)
        tokens, what = geometry.layout([size]).images[0].tokens, f"{article(size)} of {geometry.words(size)}"
        try:
            return f"{self.rows(self.default, size)} of {tokens} visual tokens for {what}"
        except BudgetError as error:  # a request with such an item is refused later
            return f"{what} is refused: {error}"

    def _rehearse(self, text: str, sizes: Callable[[Geometry, str], list[Size]]) -> None:
        pruner, geometry = self.pruner(text), self.geometry(text)
        try:
            for name, reason in self.refusals(text).items():
                if not reason:
                    rehearse(pruner, geometry, sizes(geometry, name))
        except SpecError as error:
            raise SpecError(f"{pruner.label} cannot be served by vLLM: it fails on {error}") from error

    def _refusals(self, text: str) -> dict[str, str]:
        return refusals(self.pruner(text), self.geometry(text))

    def asked(self, value: Any) -> str:
        """The spec of a request, written out.

        Args:
            value: A number (of tokens, or a share between 0 and 1); ``"scope@32"``; a table of options that override
                the engine's, or of a whole spec if it names a recipe; None for the engine's spec.

        Raises:
            ValueError: the spec is wrong, or cannot be served. Paths are refused: clients must not read files here.
        """
        if value is None:
            return self.default
        try:
            asked = json.dumps(value, sort_keys=True)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{KEY}: {error}") from error
        text, reason = self._text(asked) if len(asked) <= LONGEST else ("", f"more than {LONGEST:,} characters of JSON")
        if reason:
            raise ValueError(f"{KEY}: {reason}")
        return text

    def _asked(self, value: str) -> tuple[str, str]:
        """The spec of a request, written out, and the reason to refuse it; one of both is empty."""
        try:
            pruner = self._read(json.loads(value))
            text = written(pruner)
            if text != self.default:
                check(pruner, self.geometry(text))
            if _parts(text) != _parts(self.default):  # the engine's own were rehearsed when it started
                self._rehearse(text, self._ends)
        except Exception as error:  # third-party parts may raise anything when they are made, too
            return "", str(error) if isinstance(error, ScopeError) else f"{type(error).__name__}: {error}"
        return text, ""

    def _ends(self, geometry: Geometry, of: str) -> list[Size]:
        """The item with the fewest tokens, and the largest one, by which the engine is sized."""
        found = extremes(geometry, of)
        return [found[0], self.largest if geometry.tower is not None and of == IMAGE else found[-1]]

    def _read(self, value: Any) -> Pruner:
        check_request(value)
        if isinstance(value, str) or (isinstance(value, dict) and "recipe" in value):
            return Pruner(value, registry=self.registry)
        changes = value if isinstance(value, dict) else {"budget": value}
        return Pruner(self.pruner(self.default).spec, registry=self.registry, **changes)

    def check_rows(self, text: str, size: Size) -> int:
        """The number of rows of an image or a video, for a request.

        Args:
            text: A spec, from `asked`.
            size: Size of the item.

        Raises:
            ValueError: its medium is refused, it cannot meet the budget, or it gets no rows, or more than the engine is
                sized for.
        """
        named, what = self.geometry(text).words(size), article(size)
        for spec in (self.default, text):
            if reason := self.refusal(medium(size), spec):
                raise ValueError(f"{KEY}: {reason}")
        try:
            rows = self.rows(text, size)
            largest = text == self.default and medium(size) == IMAGE  # how long a video may be is up to vLLM
            most = self.rows(self.default, self.largest if largest else size)
        except ScopeError as error:
            raise ValueError(f"{KEY}: {medium(size)} of {named}: {error}") from error
        if rows < 1:
            raise ValueError(f"{KEY}: {what} of {named} would keep no token; vLLM needs at least one")
        if rows > most:
            raise ValueError(
                f"{KEY}: {what} of {named} would keep {rows} tokens, but the engine was started "
                f"for {most}; ask for fewer, or start it with a larger budget"
            )
        return rows

    def identity(self, text: str) -> str:
        """A text that, with the item, determines the rows: the spec, and the origins of its parts."""
        origins = sorted({part.origin for part in self.pruner(text).walk()})
        return "; ".join([text, f"scope-core {__version__}", *origins])

    def rows(self, text: str, size: Size) -> int:
        """The number of rows of an image or a video by the spec ``text``; a pure function.

        Raises:
            BudgetError: the item cannot meet the budget.
        """
        return self._counted(text, self.geometry(text).seen(size))

    def _rows(self, text: str, size: Size) -> int:
        pruner, geometry = self.pruner(text), self.geometry(text)
        layout = geometry.layout([size])
        rows = pruner.plan(layout).images[0] + layout.images[0].separators
        if pruner.spec.constraints:  # required tokens must fit into the budget, which depends on their places
            rehearse_size(pruner, geometry, size)
        return rows

    def _load(self, size: Size) -> tuple[int, int]:
        try:
            return self.rows(self.default, size), self.geometry(self.default).tiles(size)
        except BudgetError:  # a request with such an image is refused later; `refuse` has checked the largest
            return 0, 0

    def _pruner(self, text: str) -> Pruner:
        return Pruner(json.loads(text), registry=self.registry)

    def _geometry(self, text: str) -> Geometry:
        return geometry_of(self.config, _adapter(self.pruner(text)))


def written(pruner: Pruner) -> str:
    """A spec as one line of JSON that gives the same pruner, its recipe's name included."""
    spec = pruner.spec
    kept: dict[str, Any] = {"recipe": spec.recipe, "constraints": [], "order": "raster", "attention_bias": "none"}
    return json.dumps({**kept, **spec.to_dict(pruner.registry)}, sort_keys=True)


def _parts(text: str) -> dict[str, Any]:
    """A spec, written out, without its budget."""
    return {name: value for name, value in json.loads(text).items() if name != "budget"}


def _adapter(pruner: Pruner) -> Any:
    return pruner.parts["adapter"] if pruner.spec.adapter is not None else None
