"""Whatever counts, reads or shows the prompt in ``generate`` gets the caller's full one, in every release.

The reference is the host's own ``generate`` on the full prompt, unattached, whose passes read hand-built embeddings of
the pruned prompt in place of the ids: every option sees the full ids there, and every logit is that of a pruned prompt.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.generation import GenerationMixin, logits_process, stopping_criteria, streamers

import scope_core as scope
from adapters.generation_options import (
    ARGUMENTS,
    FIELDS,
    HOST_REFUSES,
    INSTALLED,
    STEPS,
    Loads,
    Refused,
    examples,
    tokenizer,
)
from adapters.guests import keeping
from adapters.models import MIXED, ONE, PATCHES, Batch, batch, llava
from adapters.reference import embeddings, scope_kept
from scope_adapters.compat import generate as steps

KEEP = [5, 3, 9]
NEW = 6
PROMPTS = {"mixed": MIXED, "one": ONE, "ends": ([3, "image"], [6], [2, "image", 3, "image"])}
CASES = [("mixed", KEEP), ("mixed", [PATCHES] * 3), ("ends", [0, 1, 2])]
"""Prompts and kept tokens. The last tokens of "ends" are placeholders of the full prompt, and few or none are left."""
MODES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 2, "num_return_sequences": 2},
    "sampled": {"do_sample": True, "num_return_sequences": 2},
}


@pytest.fixture(scope="module")
def model() -> Any:
    return llava()


@functools.cache
def prompts(rows: str) -> Batch:
    return batch(*PROMPTS[rows])


@contextlib.contextmanager
def reading(model: Any, given: Batch, keep: list[int]) -> Iterator[None]:
    """Inside, passes of the model on the full prompt compute what they would on the pruned one."""
    kept = (
        [list(range(PATCHES))] * len(keep) if keep == [PATCHES] * len(keep) else scope_kept(model, given.pixels, keep)
    )
    hand = embeddings(model, given, kept)
    inner, table = model.forward, model.get_input_embeddings()

    @functools.wraps(type(model).forward)
    def forward(input_ids: Tensor, **options: Any) -> Any:
        if input_ids.shape[1] < given.length:  # of a processor
            return inner(input_ids, **options)
        each = len(input_ids) // len(given.ids)
        prompt, mask = (hand[name].repeat_interleave(each, 0) for name in ("inputs_embeds", "attention_mask"))
        new = input_ids[:, given.length :]
        embeds = torch.cat([prompt, table(new)], 1)
        mask = torch.cat([mask, torch.ones_like(new)], 1)
        return inner(inputs_embeds=embeds, attention_mask=mask, use_cache=False, return_dict=True)

    model.forward = forward
    try:
        yield
    finally:
        del model.forward


def outcome(model: Any, given: Batch, options: dict[str, Any], **also: Any) -> Any:
    """Ids, scores of each step, and the streamed ids, or the error."""
    torch.manual_seed(0)
    whole = {"max_new_tokens": NEW, "do_sample": False, "return_dict_in_generate": True, "output_scores": True}
    whole |= {**options, **also}
    whole = {name: value for name, value in whole.items() if value is not None}
    try:
        out = model.generate(**given.inputs, **whole)
    except scope.ScopeError:
        raise
    except Exception as error:  # of the host: to be the same with and without a pruner
        return error
    return (out, ()) if isinstance(out, Tensor) else (out.sequences, out.scores or ())


def same(got: Any, wanted: Any) -> None:
    if isinstance(wanted, Exception):
        assert type(got) is type(wanted), (got, wanted)
        return
    if isinstance(got, Exception):
        raise got
    assert torch.equal(got[0], wanted[0])
    assert len(got[1]) == len(wanted[1])
    for mine, theirs in zip(got[1], wanted[1], strict=True):
        cut = mine.isinf() != theirs.isinf()
        assert int(cut.sum(1).max()) <= 1  # a token right at a threshold
        torch.testing.assert_close(mine[~cut], theirs[~cut], atol=5e-3, rtol=5e-3)


def settled(example: Any, given: Batch) -> dict[str, Any]:
    return dict(example(given) if callable(example) else example)


def check(model: Any, name: str, given: Batch, options: Any, keep: list[int], **also: Any) -> Any:
    """What a pruned call gives is what the reference gives; ``options`` makes the options anew for each."""
    with reading(model, given, keep):
        wanted = outcome(model, given, options(), use_cache=False, **also)
    assert name in HOST_REFUSES or not isinstance(wanted, Exception), wanted
    with keeping(keep).attach(model):
        same(outcome(model, given, options(), **also), wanted)
    return wanted


# what the release has, and the tables do not


@pytest.mark.parametrize("kind", INSTALLED)
def test_every_name_of_the_release_has_been_decided(kind: str) -> None:
    names, table = INSTALLED[kind]
    assert names
    assert sorted(names - set(table)) == []


def test_every_argument_of_generate_has_been_decided() -> None:
    assert sorted(set(inspect.signature(GenerationMixin.generate).parameters) - set(ARGUMENTS) - {"self"}) == []


@pytest.mark.parametrize("name", steps.STEPS)
def test_every_argument_of_the_wrapped_steps_is_known(name: str) -> None:
    """A new one may hold the prompt or its length, and would hold those of the shortened prompt."""
    assert sorted(set(inspect.signature(getattr(GenerationMixin, name)).parameters) - STEPS) == []


# each of them


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*examples("fields"), *examples("arguments")])
def test_options_mean_what_they_mean_without_a_pruner(model: Any, name: str, mode: str) -> None:
    example = {**ARGUMENTS, **FIELDS}[name]
    for rows, keep in CASES if mode == "greedy" else CASES[:1]:
        given = prompts(rows)
        check(model, name, given, lambda given=given: {**MODES[mode], **settled(example, given)}, keep)


@pytest.mark.parametrize("name", [name for name in FIELDS if isinstance(FIELDS[name], Loads)])
def test_ways_to_decode_that_only_some_releases_have(model: Any, name: str) -> None:
    given, options = prompts("one"), dict(FIELDS[name])
    with keeping(PATCHES).attach(model):
        got = outcome(model, given, options)
    same(got, outcome(model, given, options))
    if isinstance(got, Exception):
        return
    hand = embeddings(model, given, scope_kept(model, given.pixels, KEEP[:1]))
    wanted = model.generate(**hand, **{"max_new_tokens": NEW, "do_sample": False, **options})
    with keeping(KEEP[:1]).attach(model):
        assert torch.equal(outcome(model, given, options)[0][:, given.length :], wanted)


REFUSED = [name for name, example in {**ARGUMENTS, **FIELDS}.items() if isinstance(example, Refused)]


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_before_anything_runs(model: Any, name: str) -> None:
    given, options = prompts("mixed"), dict({**ARGUMENTS, **FIELDS}[name])
    with keeping(KEEP).attach(model) as pruning:
        with pytest.raises(scope.AttachError, match=name):
            model.generate(**given.inputs, **options)
        assert not pruning.receipt


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", examples("processors"))
def test_processors_of_the_release_get_the_callers_prompt(model: Any, name: str, mode: str) -> None:
    kind, make = getattr(logits_process, name), INSTALLED["processors"][1][name]
    for rows, keep in (CASES[0], CASES[2]) if mode == "greedy" else CASES[:1]:
        given = prompts(rows)
        check(model, name, given, lambda given=given: {"logits_processor": [make(kind, given)]}, keep, **MODES[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", examples("criteria"))
def test_criteria_of_the_release_get_the_callers_prompt(model: Any, name: str, mode: str) -> None:
    kind, make = getattr(stopping_criteria, name), INSTALLED["criteria"][1][name]
    for rows, keep in (CASES[0], CASES[2]) if mode == "greedy" else CASES[:1]:
        given = prompts(rows)
        options = {**MODES[mode], "eos_token_id": None}
        wanted = check(
            model, name, given, lambda given=given: {"stopping_criteria": [make(kind, given)]}, keep, **options
        )
        assert mode == "beams" or wanted[0].shape[1] < given.length + NEW


@pytest.mark.parametrize("skip", [False, True], ids=["prompt shown", "prompt skipped"])
@pytest.mark.parametrize("name", sorted(INSTALLED["streamers"][0] - {"BaseStreamer"}))
def test_streamers_of_the_release_write_the_callers_prompt(
    model: Any, name: str, skip: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    given, kind = prompts("one"), getattr(streamers, name)

    async def streamed() -> tuple[str, Tensor]:
        streamer = kind(tokenizer(), skip_prompt=skip)
        options = {"max_new_tokens": NEW, "do_sample": False, "streamer": streamer}
        ids = await asyncio.to_thread(model.generate, **given.inputs, **options)
        capsys.readouterr() if hasattr(streamer, "text_queue") else None
        if hasattr(streamer, "__aiter__"):
            return "".join([part async for part in streamer]), ids
        return ("".join(streamer) if hasattr(streamer, "__iter__") else capsys.readouterr().out), ids

    with keeping(KEEP[:1]).attach(model):
        text, ids = asyncio.run(streamed())
    wanted = ids[0, given.length if skip else 0 :].tolist()
    assert text.replace("\n", "").replace(" ", "") == "".join(f"<{token}>" for token in wanted)


def test_a_release_without_one_of_the_steps_is_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = prompts("mixed")
    monkeypatch.setattr("scope_adapters.compat.generate.STEPS", (*steps.STEPS, "_prepare_something_new"))
    with keeping(KEEP).attach(model), pytest.raises(scope.AttachError, match="_prepare_something_new"):
        model.generate(**given.inputs, max_new_tokens=1)
