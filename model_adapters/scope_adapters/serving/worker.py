"""Where vLLM encodes pictures: tower, selection, projector, for a few pictures at a time.

vLLM counts pruned tokens when it decides how many pictures may be encoded at once, so it hands over several times as
many as the tower would get without pruning. They go through it in batches of the size that vLLM would have made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from scope_adapters.serving import metrics, receipts
from scope_adapters.serving.group import Group
from scope_adapters.serving.served import Served
from scope_adapters.serving.tower import resolved, signals, watch

if TYPE_CHECKING:
    from torch import Tensor

    from scope_adapters.serving.geometry import Size
    from scope_core import VisualTokens


@dataclass(frozen=True)
class Picture:
    """One picture as it reached the worker.

    Attributes:
        tiles: (T, 3, h, w) its tiles.
        size: (height, width) before it was cut.
        spec: What is to be kept of it.
    """

    tiles: Tensor
    size: Size
    spec: str


@dataclass(frozen=True)
class Encoder:
    """The way of pictures through one model.

    Attributes:
        served: The engine's spec.
        model: vLLM's model.
        features: ``(T, 3, h, w) -> (T, n, D)``: its tower.
        newline: (D',) what stands between rows; None where nothing does.
        at_once: Tiles that the tower is given in one batch, unless a single picture has more.
    """

    served: Served
    model: Any
    features: Callable[[Tensor], Tensor]
    newline: Tensor | None
    at_once: int

    def encode(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """(R_i, D') per picture, what the language model reads; as many rows as its prompt was promised."""
        made: list[Tensor] = []
        call = receipts.Call()
        with torch.no_grad():
            for batch in batches(pictures, self.at_once):
                made += self._encode(batch, call)
        call.close(self.served.pruner(self.served.default).label, str(getattr(self.served.config, metrics.KEY, "")))
        return made

    def _encode(self, pictures: Sequence[Picture], call: receipts.Call) -> list[Tensor]:
        specs = {picture.spec: self.served.pruner(picture.spec) for picture in pictures}
        needs = frozenset[str]().union(*(pruner.needs for pruner in specs.values()))
        tower = resolved(self.model, self.served.geometry(self.served.default).tower)
        with watch(tower, needs) as capture:
            features = self.features(torch.cat([picture.tiles for picture in pictures]))
        made: dict[int, Tensor] = {}
        for spec, pruner in specs.items():
            mine = [number for number, picture in enumerate(pictures) if picture.spec == spec]
            group = Group(self.served.geometry(spec), pruner, [pictures[i].size for i in mine])
            index = torch.cat([torch.arange(*span) for span in _spans(pictures, mine)]).to(features.device)
            found = signals(replace(capture, dtype=pruner.dtype), pruner.needs, features.shape[1])
            at = features
            if "projected" in {pruner.spec.at, *pruner.needs}:
                found["projected"] = self.model.multi_modal_projector(features)
                at = found["projected"] if pruner.spec.at == "projected" else features
            tokens = group.tokens(at[index], {name: found[name][index] for name in pruner.needs})
            rows, order = agreed(group, tokens, call)
            if pruner.spec.at == "vision":
                rows = self.model.multi_modal_projector(rows)
            if self.newline is not None:
                rows = torch.cat([rows, self.newline[None].to(rows)])
            made.update(zip(mine, torch.split(rows[order], group.promised), strict=True))
        return [made[number] for number in range(len(pictures))]


def batches(pictures: Sequence[Picture], at_once: int) -> Iterator[list[Picture]]:
    """Pictures in their order, as many in a batch as have ``at_once`` tiles together, and at least one."""
    batch: list[Picture] = []
    for picture in pictures:
        if batch and sum(len(one.tiles) for one in [*batch, picture]) > at_once:
            yield batch
            batch = []
        batch.append(picture)
    if batch:
        yield batch


def agreed(group: Group, tokens: VisualTokens, call: receipts.Call) -> tuple[Tensor, Tensor]:
    """What rank 0 selects, on all ranks: near ties fall as rounding has it, and rounding may differ between ranks."""
    from vllm.distributed import get_tp_group

    ranks = get_tp_group()
    if ranks.world_size == 1:
        return group.select(tokens, call)
    if ranks.rank_in_group == 0:
        rows, order = group.select(tokens, call)
    else:
        rows = tokens.features.new_empty(sum(group.counts), tokens.features.shape[2])
        order = torch.empty(sum(group.promised), dtype=torch.int64, device=rows.device)
    return ranks.broadcast(rows.contiguous(), src=0), ranks.broadcast(order.contiguous(), src=0)


def _spans(pictures: Sequence[Picture], mine: Sequence[int]) -> list[tuple[int, int]]:
    """(first, last + 1) tile of each of the pictures ``mine``, of those of all pictures."""
    starts = [0]
    for picture in pictures:
        starts.append(starts[-1] + len(picture.tiles))
    return [(starts[number], starts[number + 1]) for number in mine]
