"""``generate`` on a shortened prompt: the rewritten call, its options and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scope_adapters.hosts.huggingface.attention_bias import biased
from scope_adapters.hosts.huggingface.decoder.run import Run, entering
from scope_adapters.hosts.huggingface.embeddings import EmbeddedPrompt, entering_as_embeddings
from scope_adapters.hosts.huggingface.full_prompt import FullPrompt, Streamer, showing
from scope_adapters.hosts.huggingface.prompt import Shortened
from scope_adapters.hosts.methods import within


@dataclass(frozen=True)
class Rewritten:
    """A call whose prompt was shortened.

    Attributes:
        kwargs: The new arguments.
        full_ids: (B, L) the caller's ids.
        short: The positions that remain.
        run: The call inside the language model; None if nothing is pruned there.
        embedded: Embeddings that the base model reads in place of ids; None if ``kwargs`` hold the kept rows.
        after: (B, 1) or (axes, B, 1) position of the next token; None if the model numbers the prompt by itself.
        whole: (B, 1) the same along the caller's prompt; None if it is unknown.
        full_mask: (B, L) the caller's attention mask of ``full_ids``; None without padding.
        bias: (B, L') attention bias of each position of the shortened prompt; None without one.
    """

    kwargs: dict[str, Any]
    full_ids: Tensor
    short: Shortened
    run: Run | None = None
    embedded: EmbeddedPrompt | None = None
    after: Tensor | None = None
    whole: Tensor | None = None
    full_mask: Tensor | None = None
    bias: Tensor | None = None

    @contextmanager
    def entering(self) -> Iterator[None]:
        """Let passes of the model inside belong to this call."""
        with entering(self.run), entering_as_embeddings(self.embedded), biased(self.bias):
            yield

    @property
    def prompt(self) -> FullPrompt:
        """The caller's prompts, for ``generate`` on the shortened ones."""
        return FullPrompt(self.full_ids, self.full_mask, self.short.index.shape[1])


def inferred_mask(ids: Tensor, given: Mapping[str, Any], config: Any, default: Any) -> Tensor | None:
    """The mask that ``generate`` would infer from padding if none is given; None if it would not.

    To be called before shorter rows get new padding.
    """
    pad, eos = (setting(name, given, config, default) for name in ("pad_token_id", "eos_token_id"))
    ends = eos if isinstance(eos, list | tuple) else [eos]
    if pad is None or pad in ends or not bool((ids == pad).any()):
        return None
    mask: Tensor = ids != pad
    return mask.long()


def arguments(given: Mapping[str, Any], prompt: FullPrompt) -> dict[str, Any]:
    """The arguments of ``generate``, inside of which `showing` shows the full prompt; streamers are wrapped here."""
    call = dict(given)
    if call.get("streamer") is not None:
        call["streamer"] = Streamer(call["streamer"], prompt)
    return call


def generated(model_generate: Callable[..., Any], rewritten: Rewritten, config: Any) -> Any:
    """The result of the model's ``generate``, in which all that counts or reads the prompt gets the caller's.

    The ids in it begin with the caller's prompt.
    """
    prompt = rewritten.prompt
    with within(), showing(prompt), rewritten.entering():
        output = model_generate(generation_config=config, **arguments(rewritten.kwargs, prompt))
    if isinstance(output, Tensor):
        return prompt.restored(output)
    output.sequences = prompt.restored(output.sequences)
    return output


def setting(name: str, given: Mapping[str, Any], *configs: Any) -> Any:
    """An option of ``generate``: from its arguments, else the config given to it, else the model's own."""
    values = (given.get(name), *(getattr(config, name, None) for config in configs))
    return next((value for value in values if value is not None), None)
