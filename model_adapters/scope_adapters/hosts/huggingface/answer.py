"""Answers to several prompts about images that are already encoded: one batch, a shared beginning computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import CACHE_NAMES, cache_name, plain_cache
from scope_adapters.hosts.huggingface.call import Call
from scope_adapters.hosts.huggingface.full_prompt import FullPrompt, showing
from scope_adapters.hosts.huggingface.generation import arguments
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.huggingface.prompt import FILLS, owners
from scope_adapters.hosts.huggingface.refusals import check_options
from scope_adapters.hosts.methods import Method, within
from scope_core import AttachError
from scope_core.adapters import Asked

_SERVED = {"input_ids", "attention_mask", *FILLS} - {"labels"}

GREEDY: Mapping[str, Any] = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1}
"""Options of all answers."""


def answer(call: Call, asked: Sequence[Asked], options: Mapping[str, Any]) -> list[Tensor]:
    """The new ids of each prompt.

    Raises:
        AttachError: a prompt does not fit its images, or has an argument that cannot be batched, or an option asks for
            more than one greedy answer.
    """
    if not asked:
        return []
    varied = [name for name, plain in GREEDY.items() if options.get(name, plain) not in (plain, None)]
    if varied:
        raise AttachError(
            f"{', '.join(f'{name}={options[name]!r}' for name in varied)}: answers are one greedy sequence a prompt; "
            f"omit {' and '.join(varied)}, or call generate()"
        )
    check_options(call.model, options, call.model.generation_config)
    prompts = [_prompt(call, number, question) for number, question in enumerate(asked)]
    counted = [name for name in ("max_length", "min_length") if options.get(name) is not None]
    if counted and len({prompt["input_ids"].shape[1] for prompt in prompts}) > 1:
        raise AttachError(
            f"{' and '.join(counted)} counts the prompt, and these prompts differ in length; give "
            f"{' and '.join(name.replace('length', 'new_tokens') for name in counted)}"
        )
    with torch.no_grad(), within():
        inputs: dict[str, Any] | None = None
        entering: AbstractContextManager[None] = nullcontext()
        pruner = call.attachment.pruner
        plain = not pruner.parts["positions"].gapped and pruner.spec.attention_bias == "none"
        if call.adapter.shares_prefix and plain:  # rows of a shared cache change their prompts
            inputs = _on_shared_prefix(call, asked, prompts)
        if inputs is None:
            inputs, entering = _spliced(call, asked, _stacked(prompts, call))
        method = vars(call.model).get("generate", call.model.generate)
        generate = method.inner if isinstance(method, Method) else method
        stacked = _stacked(prompts, call)
        prompt = FullPrompt(stacked["input_ids"], stacked["attention_mask"], inputs["input_ids"].shape[1])
        with entering, showing(prompt):
            output = generate(**arguments({**inputs, **options, **GREEDY}, prompt))
    ids = output if isinstance(output, Tensor) else output.sequences
    ends = options.get("eos_token_id", call.model.generation_config.eos_token_id)
    return [_until_end(row, ends) for row in ids[:, inputs["input_ids"].shape[1] :]]


def _until_end(ids: Tensor, ends: int | Sequence[int] | None) -> Tensor:
    """New ids up to the first end id; ids after it are padding of the batch."""
    if ends is None:
        return ids
    found = torch.isin(ids, torch.tensor(ends, device=ids.device)).nonzero()
    return ids[: int(found[0]) + 1] if len(found) else ids


def _prompt(call: Call, number: int, question: Asked) -> dict[str, Tensor]:
    """The tensors of one prompt, (1, L) each, checked against its images."""
    ids = question.inputs["input_ids"]
    if ids.dim() != 2 or ids.shape[0] != 1:
        raise AttachError(f"prompt {number}: input_ids has shape {tuple(ids.shape)}; give one prompt at a time, (1, L)")
    adapter = call.adapter
    odd = set(question.inputs) - _SERVED - {*call.items.inputs, *adapter.lasting_inputs, *adapter.former_names}
    if odd:
        raise AttachError(f"prompt {number} has {', '.join(sorted(odd))}, which cannot be batched; call generate()")
    encoded = None if question.encoding is None else question.encoding.held
    held = [] if encoded is None else list(zip(encoded.kinds, encoded.counts, strict=True))
    for name, placeholder in call.items.pixels.items():
        kind = "image" if name == adapter.image_inputs[0] else "video"
        owners(ids, int(placeholder or 0), [count for one, count in held if one == kind], kind)
    if encoded is not None:
        call.items.check_order(ids, encoded, number)
    along = {name: tensor for name, tensor in question.inputs.items() if name in _SERVED and tensor is not None}
    return {"attention_mask": torch.ones_like(ids), **along}


def _stacked(prompts: Sequence[Mapping[str, Tensor]], call: Call) -> dict[str, Tensor]:
    """The prompts as one batch, (R, L), filled up on the left."""
    names = set(prompts[0])
    if any(set(prompt) != names for prompt in prompts):
        raise AttachError("the prompts of one batch must have the same arguments")
    fills = {**FILLS, "attention_mask": 0, "input_ids": _pad(call)}
    longest = max(prompt["input_ids"].shape[1] for prompt in prompts)
    return {
        name: torch.cat(
            [
                torch.nn.functional.pad(prompt[name], (longest - prompt[name].shape[1], 0), value=fills[name])
                for prompt in prompts
            ]
        )
        for name in prompts[0]
    }


def _pad(call: Call) -> int:
    pad = getattr(call.model.config.get_text_config(), "pad_token_id", None)
    return max(int(pad or 0), 0)


def _spliced(
    call: Call, asked: Sequence[Asked], batch: dict[str, Tensor]
) -> tuple[dict[str, Any], AbstractContextManager[None]]:
    """Arguments of the model's own ``generate`` for a batch of full prompts, and the context that it needs."""
    parts = [(question.encoding.held, question.selection) for question in asked if question.encoding is not None]
    if not parts:
        return dict(batch), nullcontext()
    marked = _marked(call, asked, batch["input_ids"])
    given = {**batch, **_lasting(call, [encoded for encoded, _ in parts])}
    rewritten = call.splice(given, parts, marked)  # type: ignore[arg-type]
    return rewritten.kwargs, rewritten.entering()


def _marked(call: Call, asked: Sequence[Asked], ids: Tensor) -> Tensor:
    """(R, L) ids of the prompts, with the image placeholder wherever an image or a video goes."""
    kinds = [() if question.encoding is None else question.encoding.held.kinds for question in asked]
    return torch.cat([call.items.marked(row[None], of) for row, of in zip(ids, kinds, strict=True)])


def _lasting(call: Call, encodings: Sequence[Encoded]) -> dict[str, Tensor]:
    """Arguments that the model reads for more than encoding, of all prompts.

    Raises:
        AttachError: one was given with some of the videos only.
    """
    videos = sum(encoded.kinds.count("video") for encoded in encodings)
    made: dict[str, Tensor] = {}
    for name in call.adapter.lasting_inputs:
        each = [torch.as_tensor(encoded.lasting[name]) for encoded in encodings if name in encoded.lasting]
        if each:
            made[name] = torch.cat(each)
        if each and name in call.adapter.video_inputs and len(made[name]) != videos:
            raise AttachError(
                f"{name} was given with {len(made[name])} of {videos} encoded videos; give it with all or with none, "
                f"or ask about them in calls of their own"
            )
    return made


def _on_shared_prefix(
    call: Call, asked: Sequence[Asked], prompts: Sequence[Mapping[str, Tensor]]
) -> dict[str, Any] | None:
    """Arguments of ``generate`` that continue from a cache of the beginning that prompts of each selection share.

    None if there is nothing to share: a prompt has no images, prompts differ before the last image, or each selection
    has one prompt.
    """
    groups: dict[int, list[int]] = {}
    for number, question in enumerate(asked):
        groups.setdefault(id(question.selection), []).append(number)
    plain = {"input_ids", "attention_mask"}
    if len(groups) == len(asked) or any(
        question.encoding is None or set(prompt) != plain for question, prompt in zip(asked, prompts, strict=True)
    ):
        return None
    first = [numbers[0] for numbers in groups.values()]
    lengths = [_common([prompts[number]["input_ids"][0] for number in numbers]) for numbers in groups.values()]
    places = [placeholder for placeholder in call.items.pixels.values() if placeholder is not None]
    for numbers, length in zip(groups.values(), lengths, strict=True):
        for number in numbers:
            prompt, tail = prompts[number], prompts[number]["input_ids"][0, length:]
            if any(bool((tail == place).any()) for place in places) or not bool(prompt["attention_mask"].all()):
                return None
    heads = [
        {name: prompts[number][name][:, :length] for name in plain}
        for number, length in zip(first, lengths, strict=True)
    ]
    parts = [(asked[n].encoding.held, asked[n].selection) for n in first]  # type: ignore[union-attr]
    stacked = _stacked(heads, call)
    marked = _marked(call, [asked[number] for number in first], stacked["input_ids"])
    rewritten = call.splice(stacked, parts, marked)  # type: ignore[arg-type]
    head = rewritten.kwargs
    mask = head.setdefault("attention_mask", torch.ones_like(head["input_ids"]))
    cache = plain_cache(call.model.config.get_text_config())
    name = cache_name(type(call.model).forward) or CACHE_NAMES[0]
    with rewritten.entering():
        call.model(
            **head,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,
            **{name: cache},
        )
    owner = {number: group for group, numbers in enumerate(groups.values()) for number in numbers}
    index = torch.tensor([owner[number] for number in range(len(asked))], device=mask.device)
    cache.batch_select_indices(index)
    tails = _stacked(
        [{name: prompts[n][name][:, lengths[owner[n]] :] for name in sorted(plain)} for n in range(len(asked))], call
    )
    return {
        "input_ids": torch.cat([head["input_ids"][index], tails["input_ids"]], 1),
        "attention_mask": torch.cat([mask[index], tails["attention_mask"]], 1),
        name: cache,
    }


def _common(rows: Sequence[Tensor]) -> int:
    """The number of ids that all rows begin with; at least one id of each row is not counted."""
    shortest = min(len(row) for row in rows) - 1
    beginnings = torch.stack([row[:shortest] for row in rows])
    differs = (beginnings != beginnings[0]).any(0).nonzero()
    return int(differs[0]) if len(differs) else shortest
