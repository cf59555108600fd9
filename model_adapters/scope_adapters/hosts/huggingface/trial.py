"""A trial: one small image through the model when a pruner is attached, to refuse a geometry that is not as declared.

The layers of the tower have no part in geometry and may be skipped. Nothing is left behind, and a model that cannot run
yet (no weights, compiled, spread over processes) is not tried; the reason is noted.
"""

from __future__ import annotations

import traceback
import weakref
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scope_adapters.compat.transformers import base_of, takes_encoder_outputs
from scope_adapters.hosts.huggingface.base import HuggingFaceModel
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.methods import within
from scope_adapters.towers.trial import PAGE, mute, untouched
from scope_core import AdapterError, ScopeError
from scope_core.adapters import Declaration, quoted

_TRIED: weakref.WeakKeyDictionary[Any, set[tuple[type, str]]] = weakref.WeakKeyDictionary()
"""By model, what was tried and found right."""
NO_WEIGHTS = "its weights are not loaded"
_CLOSE = 0.02
"""Tolerance of features computed twice, as a share of the largest; half precision included."""


def tried(adapter: HuggingFaceModel[Any], model: Any, declaration: Declaration) -> str:
    """Refuse a model whose rows, candidates or signals are not what its adapter says of a trial image.

    Args:
        adapter: The adapter.
        model: The model, unwrapped.
        declaration: What the adapter declares of it.

    Returns:
        The reason why nothing was tried; empty if everything was found right.

    Raises:
        AdapterError: says what was found, what was expected, and what to override.
    """
    key = type(adapter), f"{adapter.spec!r} {model.config.to_dict()}"
    if key in _TRIED.get(model, ()):
        return ""
    why = untriable(model) or _try(adapter, model, declaration)
    if not why:
        _TRIED.setdefault(model, set()).add(key)
    return why


@dataclass(frozen=True)
class _Spec:
    at: str
    order: str = "raster"


@dataclass(frozen=True)
class _Pruner:
    spec: _Spec
    dtype: torch.dtype = torch.float32
    label: str = "a trial"


@dataclass(frozen=True)
class _Session:
    """What `encode` usually asks of a session; no pruner is at work."""

    declaration: Declaration
    at: str
    needs: frozenset[str]
    pruner: _Pruner


def untriable(model: Any) -> str:
    """The reason why a model's tower cannot run, or would be changed by it; empty if it can."""
    base = base_of(model)
    hooked = False
    for module in base.modules():
        hooked |= hasattr(module, "_hf_hook")
        if getattr(module, "_compiled_call_impl", None) is not None or "_orig_mod" in vars(module).get("_modules", {}):
            return f"its {type(module).__name__} is compiled, and would be compiled again for the trial image"
        if module.training and isinstance(module, nn.modules.batchnorm._BatchNorm):
            return f"its {type(module).__name__} is in training mode, and would count the trial image"
    for weight in base.parameters():
        if hasattr(weight, "ds_id") or type(weight).__name__ in ("DTensor", "FlatParameter"):
            return f"its weights are spread over processes ({type(weight).__name__})"
        if weight.device.type == "meta" and not hooked:
            return f"{NO_WEIGHTS} (device 'meta')"
    return ""


def _try(adapter: HuggingFaceModel[Any], model: Any, declaration: Declaration) -> str:
    base, name = base_of(model), f"adapter '{adapter.spec.name}' on {declaration.model}"
    offers = [offer for offer in declaration.offers if not offer.family.startswith(("decoder.", "text.", "clip."))]
    names = [(offer, offer.family if offer.layers is None else f"{offer.family}[1]") for offer in offers]
    needs = [one for offer, one in names if offer.covers(one)]
    accelerators = [torch.device(weight.device) for weight in base.parameters() if weight.device.type == "cuda"][:1]
    with untouched(model), torch.no_grad(), torch.random.fork_rng(accelerators), within(), ExitStack() as undo:
        mute(model)
        undo.enter_context(adapter.trial_pass(model))
        try:
            images = adapter.trial_images(model)
        except Exception as error:  # an author's code, or a config without the entries that it reads
            return f"adapter '{adapter.spec.name}' cannot make a trial image: {quoted(error)}"
        if images is None:
            return f"adapter '{adapter.spec.name}' makes no trial image"
        try:
            output = adapter.features(base, images)
        except Exception as error:  # the model's own code, on an image that it may not take; calls are checked, too
            return f"its encoder fails on the trial image: {quoted(error)}"
        if takes_encoder_outputs(model):
            _check_form(adapter, output, name)
        rows = sum(given.shape[:-1].numel() for given in output.pooler_output)
        ids = torch.full((1, rows), declaration.placeholder or 0, device=_device(output))
        for number, at in enumerate(declaration.points):
            session: Any = _Session(declaration, at, frozenset(needs), _Pruner(_Spec(at)))
            try:
                encoded = adapter.encode(model, images, ids, session)
                _check(encoded, rows, at)
                for signal in needs if number == 0 else ():  # the same at all points
                    encoded.tokens.signal(signal)
                adapter.layout_of(encoded, [0] * len(encoded.rows))
            except ScopeError as error:
                raise AdapterError(f"{name}: on a trial image, {error}") from error
            except Exception as error:  # the adapter's code may raise anything
                if isinstance(error, torch.cuda.OutOfMemoryError):
                    return f"its device has no memory left for the trial image: {quoted(error)}"
                if isinstance(getattr(error, "obj", None), _Session | _Pruner | _Spec):
                    return f"encode() asks for something that exists only while a pruner is attached: {quoted(error)}"
                where = traceback.extract_tb(error.__traceback__)[-1]
                raise AdapterError(
                    f"{name}: encode() raised {type(error).__name__} on a trial image: {quoted(error)} (at "
                    f"{Path(where.filename).name}:{where.lineno}, in {where.name}). See {PAGE}"
                ) from error
    return ""


def _check_form(adapter: HuggingFaceModel[Any], output: Any, name: str) -> None:
    """Refuse rows of another form than the declared one, which forward() takes."""
    form = "tensor" if isinstance(output.pooler_output, Tensor) else "list"
    if form != adapter.pooler:
        raise AdapterError(
            f"{name}: get_image_features() returns a {form} of rows, which its forward() takes in that form, but the "
            f'adapter says `pooler = "{adapter.pooler}"`; write `pooler = "{form}"`. See {PAGE}'
        )


def _device(output: Any) -> torch.device:
    device: torch.device = output.pooler_output[0].device
    return device


def _check(encoded: Encoded, rows: int, at: str) -> None:
    found, tokens = list(encoded.placeholders or map(len, encoded.rows)), encoded.tokens
    if sum(found) != rows or len(found) != len(tokens.features):
        raise AdapterError(
            f"the model gives {rows} rows to the language model, but encode() returns {sum(found)} for "
            f"{len(found)} image(s), and {len(tokens.features)} group(s) of candidates; `Encoded.rows` must hold all "
            f"of them, one entry for each image (`Encoded.placeholders`, if the layout has other ones). See {PAGE}"
        )
    for image, row in enumerate(encoded.rows):
        valid = tokens.valid[image]
        places = torch.arange(len(row)) if encoded.places is None else encoded.places[image]
        count = int(valid.sum())
        if count != len(places) or bool(((places < 0) | (places >= len(row))).any()):
            raise AdapterError(
                f"{count} candidates were found and {len(places)} expected: the image has {len(row)} rows"
                + ("" if encoded.places is None else f", {len(places)} of them candidates by `Encoded.places`")
                + f". If the model merges patches, subclass `Shuffled` and name its `merging`; if some rows are "
                f"no candidates, return `places` and `separators`. See {PAGE}"
            )
        _check_cells(*(plane[image, valid].cpu() for plane in (tokens.row, tokens.col, tokens.tile)))
        read, features = row[places.to(row.device)], tokens.features[image, valid]
        if at == "projected":
            _compare(features, read, "the candidates' features", "the rows that the model reads")
        elif encoded.project is not None:
            _compare(encoded.project(features), read, "the candidates' features after `project`", "the model's rows")


def _check_cells(row: Tensor, col: Tensor, tile: Tensor) -> None:
    """Refuse two tokens in one cell of a tile, and, in an image of one tile, cells that are no rectangle."""
    placed = (row >= 0) & (col >= 0)
    if not bool(placed.any()):
        return
    row, col, tile = row[placed], col[placed], tile[placed]
    rows, cols = int(row.max()) + 1, int(col.max()) + 1
    cells = set(((tile * rows + row) * cols + col).tolist())
    if len(cells) != len(row) or (int(tile.max()) == 0 and len(row) != rows * cols):
        raise AdapterError(
            f"{len(row)} candidates claim {len(cells)} cells of a grid of {rows} x {cols}; each must have a row and a "
            f"column of its own, and those of one tile fill a rectangle. Rows and columns come from `cells_of`, or "
            f"from `VisualTokens.of(row=, col=)` in encode(). See {PAGE}"
        )


def _compare(one: Tensor, other: Tensor, what: str, wanted: str) -> None:
    if one.shape != other.shape:
        raise AdapterError(
            f"{what} are {tuple(one.shape)}, but {wanted} are {tuple(other.shape)}; `projector` and `given` must name "
            f"the module that makes these rows and the one that is given one row per token. See {PAGE}"
        )
    one, other = one.float(), other.float().to(one.device)
    far = (one - other).abs() > _CLOSE * other.abs().max()
    if bool(far.any()):
        raise AdapterError(
            f"{what} are not {wanted}: token {int(far.any(-1).nonzero()[0])} differs. `projector` and `given` must "
            f"name the module that makes these rows and the one that is given one row per token, in the same order. "
            f"See {PAGE}"
        )
