"""Find the adapter of a model, and check that the model offers what a pruner needs."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from scope_core.errors import AdapterError, ScopeError, SignalError, did_you_mean, listed
from scope_core.pruning.adapter import ModelAdapter
from scope_core.pruning.schedule import Schedule
from scope_core.pruning.stage import Stage
from scope_core.registry.observers import PluginWarning
from scope_core.registry.registry import Registry
from scope_core.structures.declaration import Declaration
from scope_core.structures.signals import parse_signal


def find_adapter(model: Any, pruner: Schedule, name: str | None = None) -> ModelAdapter[Any]:
    """The adapter for ``model``: the named one, the one in the spec, or the only one that matches.

    Raises:
        AdapterError: no adapter matches, or several do.
        UnknownNameError: no adapter has this name.
    """
    if name is None and pruner.spec.adapter is not None:
        chosen: ModelAdapter[Any] = pruner.parts["adapter"]
        return chosen
    return matching_adapter(model, pruner.registry, name)


def matching_adapter(model: Any, registry: Registry, name: str | None = None) -> ModelAdapter[Any]:
    """The adapter with this name, or the only one that matches ``model``; errors as in `find_adapter`."""
    if name is not None:
        chosen: ModelAdapter[Any] = registry.build_named("adapter", name)
        return chosen
    adapters, untried = all_adapters(registry)
    matching = [adapter for adapter in adapters if _matches(adapter, model)]
    matching = [adapter for adapter in matching if not adapter.fallback] or matching
    if len(matching) == 1:
        return matching[0]
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if matching:
        names = listed(adapter.spec.name for adapter in matching)
        raise AdapterError(f"adapters {names} all match {kind}; choose one: attach(model, adapter='...')")
    inner = [name for name in ("model", "base_model", "module") if getattr(model, name, None) is not None]
    inside = next((name for name in inner if any(_matches(a, getattr(model, name)) for a in adapters)), "")
    hint = f" Its attribute '.{inside}' would match: attach to that.{_data_parallel_hint(model)}" if inside else ""
    hint += f" Not tried: {'; '.join(untried)}." if untried else ""
    raise AdapterError(
        f"no adapter matches {kind}. Installed adapters: {listed(a.spec.name for a in adapters)}.{hint} "
        f"`scope models adapters` lists the supported models; force an adapter with attach(model, adapter='...'), "
        f"write one (`scope new plugin acme.vlm --kind adapter`), or select from bare tensors with scope_core.select()"
    )


def _data_parallel_hint(model: Any) -> str:
    """Advice for a wrapper that copies its model at every call: copies run the original's pruned ``forward``."""
    if type(model).__name__ != "DataParallel" or len(getattr(model, "device_ids", ())) < 2:
        return ""
    return (
        f" {type(model).__name__} copies it to {len(model.device_ids)} devices at every call, and the copies of an "
        f"attached model run the original: use DistributedDataParallel, one process per device, or "
        f"DataParallel(model, device_ids=[0])."
    )


def all_adapters(registry: Registry) -> tuple[list[ModelAdapter[Any]], list[str]]:
    """The adapters with their default options, and a line for each that could not be built."""
    adapters: list[ModelAdapter[Any]] = []
    untried: list[str] = []
    for record in registry.records("adapter"):
        try:
            adapters.append(registry.build_named("adapter", record.name))
        except (ScopeError, ValueError) as error:
            untried.append(f"'{record.name}' ({str(error).splitlines()[0]})")
    return adapters, untried


def _matches(adapter: ModelAdapter[Any], model: Any) -> bool:
    try:
        return bool(adapter.matches(model))
    except Exception as error:  # third-party code may raise anything for a model it was not written for
        warnings.warn(f"adapter {adapter}: matches() raised {error!r}; skipped", PluginWarning, stacklevel=5)
        return False


def check_parts(pruner: Schedule, declaration: Declaration, given: Collection[str] = ()) -> None:
    """`check_fit`, except that its messages name no variants of the recipe."""
    for name, give in given.items() if isinstance(given, Mapping) else ():
        if missing := declaration.lacks(frozenset(getattr(give, "needs", ()))):
            raise SignalError(
                f"the function given for signal '{name}' needs {', '.join(missing)}, which "
                f"{declaration.model} cannot give: {_why(missing[0], declaration)}"
            )
    takes = declaration.takes_signals
    for stage in pruner.stages:
        check_point(stage, declaration)
        for part in stage.walk():
            if part.reads_places and not declaration.places:
                raise SignalError(
                    f"{part.kind} {part} reads rows and columns of tokens, which those of {declaration.model} do not "
                    f"have: {declaration.geometry}"
                )
            missing = declaration.lacks(part.needs - set(given))
            inside = sorted(name for name in part.needs - set(given) if name.startswith("decoder."))
            if inside and not missing and stage.decoder_layer is None:
                raise SignalError(
                    f"{part.kind} {part} needs {', '.join(inside)}, which exists only inside the language model, but "
                    f"this stage prunes at '{stage.spec.at}'; write `at: decoder[k]`. {part.kind} parts that would "
                    f"work here: "
                    f"{', '.join(_before_the_model(stage.registry, part.kind, declaration)) or 'none installed'}"
                )
            if missing:
                raise SignalError(
                    f"{part.kind} {part} needs {', '.join(missing)}, which {declaration.model} cannot give: "
                    f"{_why(missing[0], declaration)}. "
                    f"{part.kind} parts that would work: "
                    f"{', '.join(compatible_parts(stage.registry, part.kind, declaration)) or 'none installed'}"
                    + (f"; or supply it: attach(model, signals={{'{missing[0]}': function}})" if takes else "")
                )


def _why(name: str, declaration: Declaration) -> str:
    offered = f"it offers {', '.join(map(str, declaration.offers)) or 'no signals'}"
    return declaration.reasons.get(parse_signal(name)[0], offered)


def _before_the_model(registry: Registry, kind: str, declaration: Declaration) -> list[str]:
    """`compatible_parts` without parts that read signals from inside the language model."""
    offers = tuple(offer for offer in declaration.offers if not offer.family.startswith("decoder."))
    return compatible_parts(registry, kind, replace(declaration, offers=offers))


def check_point(stage: Stage, declaration: Declaration) -> None:
    """Check that the model has the stage's interception point, and can merge tokens there if the stage does.

    Raises:
        AdapterError: it has no such point, or cannot merge there; lists the points.
    """
    at, layer, merger = stage.spec.at, stage.decoder_layer, stage.parts["merger"]
    if layer is not None:
        if not declaration.decoder_layers:
            why = declaration.reasons.get("decoder", "its adapter cannot prune inside the language model")
            raise AdapterError(f"{declaration.model} cannot be pruned at '{at}': {why}. Points: {_points(declaration)}")
        if layer >= declaration.decoder_layers:
            raise AdapterError(
                f"{declaration.model} has {declaration.decoder_layers} decoder layers, so there is no point '{at}'. "
                f"Points: {_points(declaration)}"
            )
    elif at not in declaration.points:
        raise AdapterError(
            f"{declaration.model} has no interception point '{at}'{did_you_mean(at, declaration.points)}. "
            f"Points: {_points(declaration)}"
        )
    if stage.spec.attention_bias != "none" and not declaration.biases:
        why = declaration.reasons.get("attention_bias", "its adapter does not add to attention scores")
        raise AdapterError(
            f"{declaration.model} cannot be given `attention_bias: {stage.spec.attention_bias}`: {why}; omit it"
        )
    before = "vision" in declaration.merges
    if merger.uses_cls and declaration.has_cls and not (at == "vision" and before):
        instead = f"this spec merges at '{at}'; set `at: vision`" if before else "tokens are merged after it"
        raise AdapterError(
            f"merger {merger} uses the CLS token, which {declaration.model} has only before the projector, but "
            f"{instead}"
        )
    if layer is None and merger.mixes and not {at, "projected"} & declaration.merges:
        raise AdapterError(
            f"merger {merger} cannot merge tokens at '{at}' of {declaration.model}; points where it can: "
            f"{listed(declaration.merges)}"
        )


def _points(declaration: Declaration) -> str:
    inside = [f"decoder[1] to decoder[{declaration.decoder_layers - 1}]"] if declaration.decoder_layers > 1 else []
    return ", ".join([*map(str, declaration.points), *inside])


def compatible_parts(registry: Registry, kind: str, declaration: Declaration) -> list[str]:
    """Names of the parts of ``kind`` whose signals ``declaration`` offers; those that read signals come first.

    If the model offers a part's signal at some layers only, not at the part's default layer, a layer that works is
    added to the name.
    """
    found: list[tuple[bool, str]] = []
    options: list[dict[str, int]] = [{}, *({"layer": layer} for offer in declaration.offers for layer in offer.some)]
    for record in registry.records(kind):
        for given in options:
            try:
                needs = registry.build_named(kind, record.name, **given).all_needs
            except (ScopeError, ValueError):  # the part needs other options, so do not suggest it
                continue
            if not declaration.lacks(needs):
                found.append((not needs, record.name + (f" with layer: {given['layer']}" if given else "")))
                break
    return [name for _, name in sorted(found)]
