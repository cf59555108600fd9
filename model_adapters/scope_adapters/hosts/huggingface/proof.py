"""A proof of a model's geometry: one blank image up to the entry of the language model, with rows passed in both ways.

It proves before anything is pruned that the model has one row for each placeholder, and that rows that are passed on
enter the prompt where the model's own would, all of them or all but one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from scope_adapters.compat.blank import blank_images
from scope_adapters.compat.features import image_features, parts_that_run
from scope_adapters.compat.signatures import named, parameters
from scope_adapters.compat.transformers import EnoughError, base_of, language_model, takes_encoder_outputs
from scope_adapters.hosts.huggingface import embeddings
from scope_adapters.hosts.huggingface.embeddings import EmbeddedPrompt
from scope_adapters.hosts.huggingface.places import Grid, grid_of, separate
from scope_adapters.hosts.methods import within
from scope_adapters.towers.trial import mute, untouched
from scope_core import AdapterError

Pooler = Literal["list", "tensor"]


@dataclass(frozen=True)
class Geometry:
    """How the rows of a model's images enter its prompt, as one blank image showed.

    Attributes:
        rows: Number of rows of the blank image.
        images: Its arguments.
        pooler: The form of features that ``forward`` takes.
        layered: True if features of further layers go with each row (DeepStack).
        grid: The grid of the blank image's tokens, if tokens were seen to show their own places; None if not.
        ran: Names of the base model's children that an image passes through.
    """

    rows: int
    images: Mapping[str, Any]
    pooler: Pooler
    layered: bool
    grid: Grid | None
    ran: frozenset[str] = frozenset()

    @property
    def side(self) -> int:
        """Number of patches on one side of a token, where the arguments count patches (``image_grid_thw``)."""
        return math.isqrt(int(self.images["image_grid_thw"][0].prod()) // self.rows)


def unproven() -> Geometry:
    """The geometry of a model without weights, through which no image passes."""
    return Geometry(0, {}, "list", False, None)


def prove(model: Any, placeholder: int) -> Geometry:
    """The geometry of a model.

    Args:
        model: The model, unwrapped.
        placeholder: Id of image placeholders.

    Raises:
        AdapterError: something is not as said above; says what.
    """
    name, failed = type(model).__name__, ""
    with within(), untouched(model), torch.no_grad():
        mute(model)
        for made in blank_images(model):
            try:
                return _proven(model, placeholder, made())
            except AdapterError:
                raise
            except Exception as error:  # the model's and the processor's own code may raise anything
                failed = failed or f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    raise AdapterError(
        f"{name}: its geometry cannot be proven, since one blank image of its own image processor does not pass "
        f"through it ({failed}). Write an adapter: {PAGE}"
    )


def _proven(model: Any, placeholder: int, images: Mapping[str, Any]) -> Geometry:
    name, base = type(model).__name__, base_of(model)
    output, ran = parts_that_run(base, lambda: image_features(base, images, _whole))
    if getattr(output, "pooler_output", None) is None:
        why = (
            "only features that are added inside the language model (deepstack_features), and no rows of the prompt"
            if getattr(output, "deepstack_features", None)
            else "its forward() makes the rows of the prompt itself, so they cannot be selected before"
        )
        raise AdapterError(f"{name}.get_image_features() returns no pooler_output: {why}. Write an adapter: {PAGE}")
    rows = items(output.pooler_output)
    total = sum(map(len, rows))
    prompt = _Prompt(model, placeholder, total, images)
    own = prompt.entry(**images)
    axes = own.get("position_ids")
    axes = axes if axes is not None and axes.dim() == 3 else None
    pooler = next((form for form in _FORMS if _same(own, prompt.entry_of(output, rows, form, axes))), None)
    if pooler is None:
        raise AdapterError(
            f"{name}: rows that are passed on do not enter the prompt as the model's own do; a "
            f"blank image has {total} rows ({_shapes(output.pooler_output)}). Write an adapter: {PAGE}"
        )
    _check_one_less(name, prompt, output, rows, pooler, own, axes)
    with separate(base):
        grid = grid_of(images, lambda given: items(image_features(base, given, _whole).pooler_output))
    return Geometry(total, images, pooler, "deepstack_features" in output, grid, ran)


def lasting(images: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that say how images are cut, which models read for positions, too; not their pixels."""
    return {
        name: value
        for name, value in images.items()
        if not (isinstance(value, Tensor) and (value.is_floating_point() or value.dim() > 2))
    }


def items(features: Any) -> list[Tensor]:
    """(n_i, D) rows of each item of ``pooler_output``: of each image, tile or crop."""
    if isinstance(features, Tensor) and features.dim() == 2:
        return [features]
    return [item.reshape(-1, item.shape[-1]) for item in features]


def shaped(output: Any, rows: Sequence[Tensor], form: Pooler) -> Any:
    """A copy of features output with these rows, in the form that ``forward`` takes."""
    made = copy.copy(output)
    made.pooler_output = list(rows) if form == "list" else torch.cat(list(rows))[None]
    return made


class _Prompt:
    """A prompt with one image, and what the language model is given for it."""

    def __init__(self, model: Any, placeholder: int, count: int, images: Mapping[str, Any]) -> None:
        self.model, self.placeholder, self.count = model, placeholder, count
        self.lasting = lasting(images)

    def entry(self, fewer: int = 0, **given: Any) -> dict[str, Tensor]:
        """The tensors that the language model is given, by name; it does not run."""
        model, ids = self.model, self.ids(fewer)
        kinds = (ids == self.placeholder).int()
        takes = parameters(type(model).forward)
        types = {name: kinds for name in ("mm_token_type_ids", "token_type_ids") if name in takes}
        seen: dict[str, Any] = {}

        def stop(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            seen.update(named(type(module).forward, args), **kwargs)
            raise EnoughError

        hook = language_model(model).register_forward_pre_hook(stop, with_kwargs=True)
        try:
            type(model).forward(model, input_ids=ids, attention_mask=torch.ones_like(ids), **types, **given)
        except EnoughError:
            return dict(_tensors(seen))
        finally:
            hook.remove()
        raise AdapterError(f"{type(model).__name__} answers without its language model")

    def entry_of(
        self, output: Any, rows: Sequence[Tensor], form: Pooler, positions: Tensor | None, fewer: int = 0
    ) -> dict[str, Tensor] | None:
        """`entry` with the rows passed as calls of pruned models pass them; None if ``forward`` does not take them so.

        Args:
            output: Result of ``get_image_features``.
            rows: Rows of its items.
            form: Their form in ``mm_encoder_outputs``.
            positions: Position ids of several axes; None if the model numbers positions one by one.
            fewer: Number of rows that were left out.
        """
        numbers = {} if positions is None else {"position_ids": positions}
        try:
            if takes_encoder_outputs(self.model):
                features = {"image": shaped(output, rows, form)}
                return self.entry(fewer, mm_encoder_outputs=features, **self.lasting, **numbers)
            ids, layers = self.ids(fewer), output.deepstack_features if "deepstack_features" in output else ()
            embedded = EmbeddedPrompt.of(
                ids,
                torch.ones_like(ids, dtype=torch.bool),
                self.placeholder,
                torch.cat(list(rows)),
                positions=positions,
                layers=tuple(torch.cat(items(layer)) for layer in layers),
            )
            with ExitStack() as undo:
                embeddings.install(base_of(self.model), undo)
                undo.enter_context(embeddings.entering_as_embeddings(embedded))
                return self.entry(fewer)
        except (RuntimeError, ValueError, TypeError, AttributeError):
            return None

    def ids(self, fewer: int = 0) -> Tensor:
        """(1, L) ids: two words, the image, two words."""
        word, image = self._word(), [self.placeholder] * (self.count - fewer)
        return torch.tensor([[word, word, *image, word, word]], device=next(self.model.parameters()).device)

    def _word(self) -> int:
        """An id of a word: one that the config gives no meaning to."""
        config = self.model.config
        known = {value for name, value in vars(config).items() if name.endswith(("_token_id", "_token_index"))}
        text = vars(config.get_text_config())
        known |= {value for name, value in text.items() if name.endswith("_token_id") and isinstance(value, int)}
        return next(number for number in range(3, 1000) if number not in known)


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _tensors(inner, f"{name}[{number}]")


def _same(own: Mapping[str, Tensor], other: Mapping[str, Tensor] | None) -> bool:
    """True if the language model is given the same."""
    if other is None or own.keys() != other.keys():
        return False
    return all(_equal(tensor, other[name]) for name, tensor in own.items())


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and (first.is_meta or torch.equal(first, second))


def _check_one_less(
    name: str,
    prompt: _Prompt,
    output: Any,
    rows: Sequence[Tensor],
    form: Pooler,
    own: Mapping[str, Tensor],
    axes: Tensor | None,
) -> None:
    """Refuse models that give another prompt than the full one without a position, where one row is left out.

    Raises:
        AdapterError: says what the language model is given.
    """
    gone = max(len(rows[0]) // 2, 0)
    fewer = [torch.cat([rows[0][:gone], rows[0][gone + 1 :]]), *rows[1:]]
    embeds = own["inputs_embeds"]
    positions = None if axes is None else torch.cat([axes[..., : gone + 2], axes[..., gone + 3 :]], -1)
    found = prompt.entry_of(_without(output, gone), fewer, form, positions, 1)
    wanted = torch.cat([embeds[:, : gone + 2], embeds[:, gone + 3 :]], 1)
    if found is None or not _equal(wanted, found["inputs_embeds"]):
        raise AdapterError(
            f"{name}: the prompt cannot be shortened by a row: without row {gone} of a blank image, the language model "
            f"is not given the same embeddings without that position. Write an adapter: {PAGE}"
        )
    length = embeds.shape[1]
    odd = [key for key, tensor in found.items() if length in tensor.shape and length - 1 not in tensor.shape]
    if odd:
        raise AdapterError(
            f"{name}: {', '.join(odd)} of the language model keeps {length} positions when a row is left out, so it "
            f"does not follow the prompt. Write an adapter: {PAGE}"
        )


def _without(output: Any, gone: int) -> Any:
    """A copy of features output without one row of DeepStack features."""
    made = copy.copy(output)
    if "deepstack_features" in output:
        made.deepstack_features = [
            [
                torch.cat([item[:gone], item[gone + 1 :]]) if not number else item
                for number, item in enumerate(items(layer))
            ]
            for layer in output.deepstack_features
        ]
    return made


def _whole(rows: Tensor) -> list[Tensor]:
    """Rows of all images, not split."""
    return [rows]


def _shapes(features: Any) -> str:
    return ", ".join(str(tuple(item.shape)) for item in items(features))


_FORMS: tuple[Pooler, ...] = ("list", "tensor")
PAGE = "docs/write-an-adapter.md"
