"""Random specs on tiny models: unpruned at K = N, hand-built embeddings at K < N, and a prompt alone as in a batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest
import torch
from adapters.qwen import qwen3_vl
from torch import Tensor

import scope_core as scope
from fuzz import specs
from fuzz.explore import Amount, Tally, explore, refusing
from fuzz.hosts import HOSTS, Host, Prompts, Seen, inside, text_similarity, watched
from scope_adapters.compat.transformers import language_model
from scope_core import Pruner

CLOSE = {"atol": 5e-4, "rtol": 5e-4}
GIVEN = {"signals": {"clip.text_similarity": text_similarity}}
BLAMED = (scope.PluginOutputError, scope.PluginError)


MARKS = {"qwen3_vl": qwen3_vl}
"""Models that some releases of transformers do not have."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in HOSTS])
def test_hosts(name: str, amount: Amount) -> None:
    host = HOSTS[name]
    explore(f"host {name}", lambda source, tally: one(source, tally, host), amount, few=12)


def one(source: Random, tally: Tally, host: Host) -> None:
    model, given = host.model(), host.draw(source)
    plain = watched(model, given.inputs)
    everything = {"recipe": "uniform_grid", "budget": 1.0, "at": source.choice(["vision", "projected"])}
    with Pruner(everything).attach(model) as pruning:
        whole = watched(model, given.inputs)
    real_places = given.mask.bool()
    torch.testing.assert_close(whole.logits[real_places], plain.logits[real_places], atol=1e-5, rtol=1e-5)
    images = pruning.receipt.images
    sizes, owners = [image.tokens for image in images], [image.prompt for image in images]
    table = drawn(source, host, sizes)
    with refusing():
        pruner = Pruner(table)
        pruner.check(model, signals=GIVEN["signals"])
    keep_all(model, given, pruner, plain, tally)
    with attached(pruner, model) as pruning:
        with refusing(*BLAMED):
            pruned = watched(model, given.inputs)
        receipt, positions = pruning.receipt, pruning.positions
        again = watched(model, given.inputs)
        assert torch.equal(pruned.logits, again.logits)
        alone = prompts_alone(model, given, pruner, pruning, pruned, receipt, owners)
        answered(model, given, pruned, positions, source, tally, pruner)
    assert [image.tokens for image in receipt.images] == sizes
    assert [image.prompt for image in receipt.images] == owners
    assert [image.kept for image in receipt.images] == list(receipt.selection.row_counts)
    assert torch.equal(watched(model, given.inputs).logits, plain.logits), "detached"
    tally.more["prompts alone"] += alone
    tally.more["inside the language model"] += pruner.stages[-1].decoder_layer is not None
    by_hand(model, given, pruner, plain, pruned, positions, receipt, host, tally)


def whole_table(spec: scope.PrunerSpec) -> dict[str, Any]:
    """A spec with every part as a table, that of later stages included."""
    table = spec.model_dump(mode="json", exclude={"recipe", "adapter", "then"})
    return {**table, "then": [whole_table(stage) for stage in spec.then]}


def drawn(source: Random, host: Host, sizes: Sequence[int]) -> Any:
    """A spec for a host, as it may be given, with stages inside the language model at layers that it has."""
    with refusing():
        table = whole_table(Pruner(specs.spec(source, sizes)).spec)
        if source.random() < 0.2:
            table["at"] = source.choice(["vision", "projected"])
        table = inside(table, host, source)
        if not host.decoder and table["at"].startswith("decoder"):
            table["at"] = "projected"
        if table["at"].startswith("decoder") or table.get("then"):
            stages = 1 + len(table.get("then", []))
            table["budget"] = specs.options(source, sizes, stages)
            for stage in table.get("then", []):
                stage.pop("budget", None)
                stage.pop("then", None)
        return table


@contextlib.contextmanager
def attached(pruner: Pruner, model: Any) -> Iterator[Any]:
    """An attached pruner, or its refusal."""
    with refusing():
        pruning = pruner.attach(model, **GIVEN)
    with pruning:
        yield pruning


def keep_all(model: Any, given: Prompts, pruner: Pruner, plain: Seen, tally: Tally) -> None:
    """With every token kept and nothing merged, the plain model's logits and answers."""
    if any(stage.parts["selector"].adaptive for stage in pruner.stages):
        return  # decides itself how many it keeps
    table = whole_table(pruner.spec)
    for stage in (table, *table["then"]):
        stage |= {"merger": "none", "constraints": [], "order": "raster", "budget": 1.0}
        if stage is not table:
            stage.pop("then")
    with attached(Pruner(table), model) as pruning:
        with refusing(*BLAMED):
            got = watched(model, given.inputs)
        assert pruning.receipt.kept == pruning.receipt.tokens
    real_places = given.mask.bool()
    torch.testing.assert_close(got.logits[real_places], plain.logits[real_places], atol=1e-4, rtol=1e-4)
    tally.more["K = N"] += 1


def prompts_alone(
    model: Any, given: Prompts, pruner: Pruner, pruning: Any, pruned: Seen, receipt: Any, owners: Sequence[int]
) -> int:
    """Each prompt alone gives the logits that it has in the batch, if images do not depend on each other."""
    budget = pruner.spec.budget.model_dump()
    joint = any(getattr(part.spec, "over", "") == "call" for stage in pruner.stages for part in stage.walk())
    joint |= any(one.name == "cells" for stage in pruner.stages for one in stage.spec.constraints)  # of some image
    if len(given.ids) == 1 or budget.get("per") == "total" or joint:
        return 0
    positions = pruning.positions
    for row in range(len(given.ids)):
        single = given.row(row)
        seen = watched(model, single.inputs)
        kept = [image.kept for image, owner in zip(receipt.images, owners, strict=True) if owner == row]
        if not kept:
            mine = pruned.logits[row][real(positions[row], given.mask[row])]
            torch.testing.assert_close(seen.logits[0], mine, **CLOSE)
            continue
        assert [image.kept for image in pruning.receipt.images] == kept, pruner.spec.to_yaml()
        mine = pruned.logits[row][real(positions[row], given.mask[row])]
        if picks_of(pruning.receipt) == picks_of(receipt, [i for i, owner in enumerate(owners) if owner == row]):
            left = real(pruning.positions[0], single.mask[0])
            torch.testing.assert_close(seen.logits[0][left], mine, **CLOSE, msg=lambda m: m + pruner.spec.to_yaml())
    return len(given.ids)


def picks_of(receipt: Any, images: Sequence[int] | None = None) -> list[list[list[int]]]:
    """The picks of each stage, of some images."""
    stages = []
    for stage in (receipt, *receipt.later):
        picks = stage.selection.picks
        rows = range(len(picks)) if images is None else images
        stages.append([[token for token in picks[row].tolist() if token >= 0] for row in rows])
    return stages


def real(positions: Tensor, mask: Tensor) -> Tensor:
    """Positions of a shortened prompt that hold a token."""
    return (positions >= 0) & mask.gather(0, positions.clamp(min=0)).bool()


def answered(
    model: Any, given: Prompts, pruned: Seen, positions: Tensor, source: Random, tally: Tally, pruner: Pruner
) -> None:
    """``generate`` puts the caller's prompt in front, and its first token follows from the logits of ``forward``."""
    if source.random() < 0.6:
        return
    left = bool(given.mask[:, -1].all())
    with refusing():
        ids = model.generate(**given.inputs, max_new_tokens=3, do_sample=False)
    length = given.ids.shape[1]
    assert torch.equal(ids[:, :length], given.ids)
    assert ids.shape[1] == length + 3
    if not left:
        return
    rotated = any("keys[" in need for stage in pruner.stages for need in stage.needs)
    for row in range(len(given.ids)):
        if rotated and not given.mask[row].all():
            continue  # `forward` numbers padding too, `generate` does not, and rotated keys differ with it
        where = real(positions[row], given.mask[row]).nonzero().flatten()[-1]
        logits = pruned.logits[row, where].clone()
        logits[model.generation_config.suppress_tokens] = -torch.inf
        chosen = int(ids[row, length])
        assert logits.max() - logits[chosen] < 1e-3, pruner.spec.to_yaml()
    tally.more["answers"] += 1


def by_hand(
    model: Any,
    given: Prompts,
    pruner: Pruner,
    plain: Seen,
    pruned: Seen,
    positions: Tensor,
    receipt: Any,
    host: Host,
    tally: Tally,
) -> None:
    """The language model reads the text and exactly the kept rows, and its logits are those of these rows."""
    first = pruner.stages[0]
    selection = receipt.selection
    if first.decoder_layer is not None:
        return
    if selection.mixed is not None and (first.spec.at != "projected" or selection.mixed.cls_weights is not None):
        return
    rows, ids = [], given.ids
    for row in range(len(ids)):
        real_places = given.mask[row].bool().nonzero().flatten().tolist()
        places = [place for place in real_places if int(ids[row, place]) == model.config.image_token_id]
        candidates = [place for place in places if not newline(model, plain.embeddings[row, place])]
        gone = set(candidates)
        order: list[tuple[float, Tensor]] = []
        start = 0
        for number, one in enumerate(receipt.images):
            if one.prompt != row:
                continue
            mine = [candidates[start + i] for i in host.order(given, number, selection.tokens)]
            start += one.tokens
            made = image_rows(selection, number, plain.embeddings[row, mine])
            if made is None or (selection.order != "raster" and len(mine) != max(mine) - min(mine) + 1):
                return
            for slot, (source, vector) in enumerate(made):
                at = mine[source] if selection.order == "raster" else mine[0] + slot / 1000
                order.append((at, vector))
        assert start == len(candidates), "the receipt tells of every image"
        order += [(place, plain.embeddings[row, place]) for place in real_places if place not in gone]
        rows.append(torch.stack([vector for _, vector in sorted(order, key=lambda pair: pair[0])]))
    for row, wanted in enumerate(rows):
        got = pruned.embeddings[row]
        left = real(positions[row], given.mask[row])
        if len(pruner.stages) > 1:  # positions are those after the last stage
            left = slice(-len(wanted), None) if given.mask[:, -1].all() else slice(len(wanted))
        torch.testing.assert_close(got[left], wanted, **CLOSE, msg=lambda m: m + pruner.spec.to_yaml())
    tally.more["rows by hand"] += 1
    if host.plain and len(pruner.stages) == 1:
        logits_by_hand(model, given, plain, pruned, positions, rows, pruner)
        tally.more["logits by hand"] += 1


def image_rows(selection: Any, image: int, vectors: Tensor) -> list[tuple[int, Tensor]] | None:
    """The rows of one image by the definitions of selection and merging; None where their places are not known."""
    count = selection.row_counts[image]
    sources = selection.rows[image, :count].tolist()
    if any(source < 0 for source in sources):
        return None
    if selection.mixed is None:
        return [(source, vectors[source]) for source in sources]
    weights = selection.weights[image, :count, : len(vectors)].double()
    return [(source, (weights[i] @ vectors.double()).float()) for i, source in enumerate(sources)]


def newline(model: Any, vector: Tensor) -> bool:
    """Whether a row is the newline token of models that have one."""
    token = getattr(model.model, "image_newline", None)
    return token is not None and bool(torch.equal(vector, token.to(vector)))


def logits_by_hand(
    model: Any,
    given: Prompts,
    plain: Seen,
    pruned: Seen,
    positions: Tensor,
    rows: Sequence[Tensor],
    pruner: Pruner,
) -> None:
    """The language model alone, on each row's embeddings without any padding."""
    for row, vectors in enumerate(rows):
        left = real(positions[row], given.mask[row])
        ids = torch.arange(len(vectors))[None]
        if pruner.spec.positions.name == "original":
            ids = (given.mask[row].cumsum(0) - 1)[positions[row][left]][None]
        mask = torch.zeros(1, 1, len(vectors), len(vectors)).masked_fill(
            torch.ones(len(vectors), len(vectors)).triu(1).bool(), torch.finfo(torch.float32).min
        )
        with torch.no_grad():
            out = language_model(model)(inputs_embeds=vectors[None], position_ids=ids, attention_mask=mask)
            logits = model.lm_head(out.last_hidden_state)[0]
        torch.testing.assert_close(pruned.logits[row][left], logits, **CLOSE, msg=lambda m: m + pruner.spec.to_yaml())
