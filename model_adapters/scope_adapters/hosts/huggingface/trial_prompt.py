"""A prompt with one blank image or video, up to the entry of the language model, with rows passed in both ways."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor

from scope_adapters.compat.signatures import named, parameters
from scope_adapters.compat.transformers import EnoughError, base_of, language_model, takes_encoder_outputs
from scope_adapters.hosts.huggingface import embeddings
from scope_adapters.hosts.huggingface.embeddings import EmbeddedPrompt
from scope_core import AdapterError

Pooler = Literal["list", "tensor"]
"""The form of features that ``forward`` takes: a list of rows of each item, or one tensor (1, N, D)."""
FORMS: tuple[Pooler, ...] = ("list", "tensor")
PAGE = "docs/write-an-adapter.md"


class TrialPrompt:
    """A prompt with one image or video, and what the language model is given for it.

    Args:
        model: The model, unwrapped.
        placeholder: Id of the placeholders.
        counts: Placeholders of each unbroken run; a word stands between two runs.
        given: Arguments of the image or video.
        kind: ``"image"`` or ``"video"``.
    """

    def __init__(
        self,
        model: Any,
        placeholder: int,
        counts: Sequence[int],
        given: Mapping[str, Any],
        kind: Literal["image", "video"] = "image",
    ) -> None:
        self.model, self.placeholder, self.counts, self.kind = model, placeholder, counts, kind
        self.lasting = lasting(given)

    def entry(self, gone: int | None = None, **given: Any) -> dict[str, Tensor]:
        """The tensors that the language model is given, by name; it does not run."""
        model, ids = self.model, self.ids(gone)
        kinds = (ids == self.placeholder).int()
        takes = parameters(type(model).forward)
        types = {"mm_token_type_ids": kinds * (2 if self.kind == "video" else 1), "token_type_ids": kinds}
        types = {name: value for name, value in types.items() if name in takes}
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
        self, output: Any, rows: Sequence[Tensor], form: Pooler, positions: Tensor | None, gone: int | None = None
    ) -> dict[str, Tensor] | None:
        """`entry` with the rows passed as calls of pruned models pass them; None if ``forward`` does not take them so.

        Args:
            output: Result of ``get_image_features`` or ``get_video_features``.
            rows: Rows of its items.
            form: Their form in ``mm_encoder_outputs``.
            positions: Position ids of several axes; None if the model numbers positions one by one.
            gone: The row that was left out, if one was.
        """
        numbers = {} if positions is None else {"position_ids": positions}
        try:
            if takes_encoder_outputs(self.model):
                features = {self.kind: shaped(output, rows, form)}
                return self.entry(gone, mm_encoder_outputs=features, **self.lasting, **numbers)
            ids, layers = self.ids(gone), output.deepstack_features if "deepstack_features" in output else ()
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
                return self.entry(gone)
        except (RuntimeError, ValueError, TypeError, AttributeError):
            return None

    def ids(self, gone: int | None = None) -> Tensor:
        """(1, L) ids: two words, the runs of placeholders, two words; without the placeholder of row ``gone``."""
        word = self._word()
        runs = [[self.placeholder] * count for count in self.counts]
        between = [one for run in runs[:-1] for one in (*run, word)] + runs[-1]
        made = torch.tensor([[word, word, *between, word, word]], device=next(self.model.parameters()).device)
        return made if gone is None else _cut(made, self.place(gone))

    def place(self, row: int) -> int:
        """The position of a row in the prompt."""
        return int((self.ids() == self.placeholder).nonzero()[row, 1])

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


def axes_of(entry: Mapping[str, Tensor]) -> Tensor | None:
    """The position ids of several axes; None if positions are numbered one by one."""
    positions = entry.get("position_ids")
    return positions if positions is not None and positions.dim() == 3 else None


def same(own: Mapping[str, Tensor], other: Mapping[str, Tensor] | None) -> bool:
    """True if the language model is given the same."""
    if other is None or own.keys() != other.keys():
        return False
    return all(_equal(tensor, other[name]) for name, tensor in own.items())


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and (first.is_meta or torch.equal(first, second))


def check_one_less(
    name: str,
    prompt: TrialPrompt,
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
    place, embeds = prompt.place(gone), own["inputs_embeds"]
    fewer = [torch.cat([rows[0][:gone], rows[0][gone + 1 :]]), *rows[1:]]
    positions = None if axes is None else _cut(axes, place, -1)
    found = prompt.entry_of(_without(output, gone), fewer, form, positions, gone)
    if found is None or not _equal(_cut(embeds, place), found["inputs_embeds"]):
        raise AdapterError(
            f"{name}: the prompt cannot be shortened by a row: without row {gone} of a blank {prompt.kind}, the "
            f"language model is not given the same embeddings without that position. Write an adapter: {PAGE}"
        )
    length = embeds.shape[1]
    odd = [key for key, tensor in found.items() if length in tensor.shape and length - 1 not in tensor.shape]
    if odd:
        raise AdapterError(
            f"{name}: {', '.join(odd)} of the language model keeps {length} positions when a row is left out, so it "
            f"does not follow the prompt. Write an adapter: {PAGE}"
        )


def _cut(tensor: Tensor, place: int, axis: int = 1) -> Tensor:
    """A tensor without one position."""
    left = [number for number in range(tensor.shape[axis]) if number != place]
    return tensor.index_select(axis, torch.tensor(left, device=tensor.device))


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
