"""One call in a language model that is pruned inside: its prompts, and the selection of each stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scope_adapters.hosts.huggingface.decoder.signals import TOKEN_AXES, Reading, View, stacked
from scope_adapters.hosts.huggingface.decoder.steps import ADDED, TEXT, Step, Table, rearranged, tokens_left
from scope_adapters.hosts.huggingface.prompt import Shortened
from scope_core import AttachError, Layout, Selection, VisualTokens
from scope_core.adapters import Session
from scope_core.parts import parse_signal


class Run:
    """A call, from the moment its prompts enter the language model.

    Attributes:
        owner: The `Decoder` with the hooks.
        table: The prompts' positions after the stages so far.
        entered: (B, L) int64 position in the caller's prompt of each position that entered, -1 for padding.
        length: L.
        prompts: B.
        beams: Number of rows in the language model's batch for each prompt.
        steps: The change by each stage, by layer; without stages that changed nothing.
        decided: True once all stages have selected.
    """

    def __init__(
        self,
        owner: Any,
        attachment: Session,
        table: Table,
        entered: Tensor,
        tokens: VisualTokens,
        layout: Layout,
        stays: Callable[[int, Tensor], Tensor] | None,
    ) -> None:
        """Args: as above; the encoder's tokens, the first stage's layout, and the separators that stay beside rows."""
        self.owner, self.attachment, self.table, self.entered = owner, attachment, table, entered
        self.tokens, self.layout, self.stays = tokens, layout, stays
        self.owners = [image.prompt for image in layout.images]
        self.prompts, self.length = table.valid.shape
        # computed once: a stage may drop all tokens of an image, and the text after it stays the same
        self._ends = [table.end(image, prompt) for image, prompt in enumerate(self.owners)]
        self.right = bool((~table.valid[:, -1]).any())
        self.beams, self.decided = 1, False
        self._real = table.valid
        self.steps: dict[int, Step] = {}
        self._read: dict[tuple[int, int], dict[str, list[Tensor]]] = {}
        self._keys: dict[tuple[int, int], list[Tensor]] = {}

    @property
    def first_stage(self) -> bool:
        """True if the next stage is the pruner's first, which reads the encoder's candidates."""
        return self.layout.stage == 0

    def columns(self) -> list[Tensor]:
        """(n_i,) per image: the positions of its tokens now."""
        table, first = self.table, self.first_stage
        return [table.columns(image, prompt, by_candidate=first) for image, prompt in enumerate(self.owners)]

    def read(
        self,
        stage: int,
        layer: int,
        hidden: Tensor,
        rotary: tuple[Tensor, Tensor],
        projected: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Store the signals that ``stage`` needs from ``layer``.

        Args:
            stage: Number of the stage.
            layer: Number of the layer.
            hidden: (B * beams, L, D) its input.
            rotary: Its rotary embedding.
            projected: Its queries (``q``) and keys (``k``), (B * beams, L, H * C) each, if it has run.
        """
        pruner = self.attachment.pruner.stages[stage]
        parsed = {parse_signal(name): name for name in pruner.needs if name not in self.attachment.given}
        wanted = {key: name for key, name in parsed.items() if key[0] in TOKEN_AXES and key[1] == layer}
        with torch.no_grad():
            columns = self.columns()
            view = View(
                hidden=hidden[:: self.beams].detach(),
                rotary=tuple(part[..., :: self.beams, :, :] if part.shape[-3] > 1 else part for part in rotary),  # type: ignore[arg-type]
                valid=self.table.valid.to(hidden.device),
                prompts=self.owners,
                columns=[mine.to(hidden.device) for mine in columns],
                texts=[
                    self.table.texts_after(end, prompt).to(hidden.device)
                    for end, prompt in zip(self._ends, self.owners, strict=True)
                ],
            )
            known = {which: states[:: self.beams] for which, states in (projected or {}).items()}
            reading = Reading(self.owner.decoder, layer, view, half=pruner.dtype is None, projected=known)
            self._read[stage, layer] = {name: reading.read(family) for (family, _), name in wanted.items()}
        self._keys[stage, layer] = [
            self.table.key[prompt, mine] for prompt, mine in zip(self.owners, columns, strict=True)
        ]

    def decide(self, stage: int, hidden: Tensor, numbers: Tensor | None) -> Step | None:
        """The change by ``stage``; None if nothing changes.

        Args:
            stage: Number of the stage.
            hidden: (B * beams, L, D) input of the layer.
            numbers: (R or 1, L) position ids that entered the language model; None if they have several axes: tokens
                that stay keep theirs then.
        """
        columns = self.columns()
        tokens = self._tokens(stage, hidden[:: self.beams], columns)
        if all(len(mine) == 0 for mine in columns):
            self.layout = self.layout.after([0] * len(columns))
            return None
        found: tuple[Tensor, Table, Tensor] | None = None

        def separators(selection: Selection) -> list[int]:
            nonlocal found
            found = rearranged(self.table, selection, columns, self.owners, self.stays, right=self.right)
            after = self.table if found is None else found[1]
            return [_separators(after, image, prompt) for image, prompt in enumerate(self.owners)]

        selection = self.attachment.prune(tokens, self.layout, stage=stage, separators=separators)
        self.layout = self.layout.after(selection.row_counts)
        if found is None:
            return None
        index, table, rows = found
        renumbered = None if numbers is None else self._renumbered(stage, numbers, table)
        merging = selection.mixed is not None
        step = Step(
            length=self.table.valid.shape[1],
            index=index,
            table=table,
            positions=None if renumbered is None else renumbered[0],
            shift=None if renumbered is None else renumbered[1],
            merge=_merging(selection, columns, self.owners) if merging else None,
            merged=rows if merging else None,
        )
        self.table = table
        return step

    def _renumbered(self, stage: int, numbers: Tensor, table: Table) -> tuple[Tensor, Tensor | None]:
        """(B, M) position ids after ``stage``, and what `Step.shift` says."""
        full = numbers[:: self.beams] if numbers.shape[0] > 1 else numbers
        full = full.expand(self.prompts, -1).to(table.valid.device)
        policy = self.attachment.pruner.stages[stage].parts["positions"]
        kept: Tensor | None = policy.position_ids(full, table.source.clamp(min=0), table.valid)
        if kept is not None:
            return kept, None
        return _compact(full, self._real, table.valid), _shift(full, self._real, table.valid)

    def forget(self) -> None:
        """Free what only the selection needed."""
        self._read.clear()
        self._keys.clear()

    def _tokens(self, stage: int, hidden: Tensor, columns: Sequence[Tensor]) -> VisualTokens:
        left = tokens_left(self.tokens, self.table, columns, self.owners)
        features = left.features.new_zeros((*left.valid.shape, hidden.shape[2]), dtype=hidden.dtype)
        for image, (prompt, mine) in enumerate(zip(self.owners, columns, strict=True)):
            features[image, : len(mine)] = hidden[prompt, mine.to(hidden.device)].to(features.device)
        needs = self.attachment.pruner.stages[stage].needs
        if bool((self.table.candidate == ADDED).any()) and any(not name.startswith("decoder.") for name in needs):
            raise AttachError(
                f"stage {stage} reads {', '.join(sorted(needs))}, but rows that an earlier stage's merger added have "
                f"no signals of the vision tower; let that stage merge into kept tokens, or read decoder signals only"
            )
        signals = {name: tensor.to(features.device) for name, tensor in self._signals(stage, columns).items()}
        return replace(left, features=features, signals=left.signals.beside(signals))

    def _signals(self, stage: int, columns: Sequence[Tensor]) -> dict[str, Tensor]:
        """The signals of the stage by name, for the tokens that are left."""
        signals: dict[str, Tensor] = {}
        for (reader, layer), read in self._read.items():
            if reader != stage:
                continue
            for name, tensors in read.items():
                axis = TOKEN_AXES[parse_signal(name)[0]]
                if axis is not None:
                    places = [
                        _places(then, self.table.key[prompt, mine], layer, stage)
                        for then, prompt, mine in zip(self._keys[reader, layer], self.owners, columns, strict=True)
                    ]
                    tensors = [t.index_select(axis, p.to(t.device)) for t, p in zip(tensors, places, strict=True)]
                signals[name] = stacked(tensors)
        return signals


def _places(then: Tensor, now: Tensor, layer: int, stage: int) -> Tensor:
    """The places of the tokens that are left among those that a layer read."""
    order = then.argsort()
    found = torch.searchsorted(then[order], now).clamp(max=max(len(then) - 1, 0))
    places = order[found] if len(then) else found
    if len(now) and not bool((then[places] == now).all()):
        raise AttachError(
            f"stage {stage} reads layer {layer}, but a merger added rows after that layer; let the stage read its own "
            f"layer"
        )
    return places


def _separators(table: Table, image: int, prompt: int) -> int:
    mine = table.valid[prompt] & (table.image[prompt] == image)
    return int(mine.sum()) - len(table.columns(image, prompt))


def _merging(selection: Selection, columns: Sequence[Tensor], owners: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """A function ``states (B, L, D) -> (images * R, D)``: the selection's rows, merged from states of its tokens."""
    count = selection.tokens.shape[1]

    def merge(states: Tensor) -> Tensor:
        tokens = states.new_zeros(len(owners), count, states.shape[2])
        for image, (prompt, mine) in enumerate(zip(owners, columns, strict=True)):
            tokens[image, : len(mine)] = states[prompt, mine.to(states.device)]
        return selection.merge(tokens).flatten(0, 1)

    return merge


def _compact(full: Tensor, real: Tensor, valid: Tensor) -> Tensor:
    """(B, M) position ids without gaps, from each prompt's first."""
    first = full.masked_fill(~real, torch.iinfo(full.dtype).max).amin(1)
    return (first[:, None] + valid.cumsum(1) - 1).masked_fill(~valid, 0)


def _shift(full: Tensor, real: Tensor, valid: Tensor) -> Tensor:
    """(B,) difference that closing gaps makes to the positions after a prompt."""
    last = full.masked_fill(~real, -1).amax(1)
    return last - _compact(full, real, valid).masked_fill(~valid, -1).amax(1)


def entry(
    short: Shortened, ids: Tensor, mask: Tensor | None, placeholder: int, images: Sequence[tuple[Tensor, Tensor]]
) -> tuple[Table, Tensor]:
    """The table of prompts that enter the language model, and (B, L) the caller's position of each of their positions.

    Args:
        short: The positions of the caller's prompts that remain.
        ids: (B, L) the shortened ids.
        mask: (B, L) the shortened attention mask; None without padding.
        placeholder: Id of image placeholders.
        images: Per image, in placeholder order, two (k,) int64: the feature row at each of its placeholders, -1 for
            rows that a merger added; and the candidate, or `SEPARATOR` or `ADDED`.
    """
    device = ids.device
    valid = short.kept.to(device) if mask is None else short.kept.to(device) & mask.to(device).bool()
    image, candidate, row = (torch.full_like(ids, TEXT) for _ in range(3))
    places = (ids == placeholder) & short.kept.to(device)
    owner = [torch.full_like(rows, number) for number, (rows, _) in enumerate(images)]
    image[places] = torch.cat(owner).to(device)
    row[places] = torch.cat([rows for rows, _ in images]).to(device)
    candidate[places] = torch.cat([which for _, which in images]).to(device)
    column = torch.arange(ids.shape[1], device=device).expand_as(ids)
    key = column + ids.shape[1] * torch.arange(len(ids), device=device)[:, None]
    table = Table(valid=valid, source=column, image=image, candidate=candidate, row=row, key=key.clone())
    return table, short.index.to(device).masked_fill(~short.kept.to(device), -1)


def entering(run: Run | None) -> AbstractContextManager[None]:
    """Passes of the language model inside belong to ``run``."""
    return nullcontext() if run is None else run.owner.running(run)
