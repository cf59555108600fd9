"""A really running engine and, beside it, Hugging Face with our own `attach`: what both answer, and what both keep."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import samples
import torch
from PIL import Image
from transformers.video_utils import VideoMetadata

import scope_core as scope
from scope_adapters.serving import worker
from scope_adapters.serving.group import Group
from scope_adapters.serving.register import ARCHITECTURES

TOKENS = 8
"""Tokens of an answer that are compared."""


TIE = 1e-3
"""Two tokens whose scores differ by less are equally likely: which one an engine says depends on how a CPU rounds."""


class Answer(list[int]):
    """The tokens of an answer. Equal to others that agree up to the first two equally likely tokens.

    Args:
        tokens: The tokens.
        sure: How many come before the first that another one is as likely as.
    """

    def __init__(self, tokens: Sequence[int], sure: int) -> None:
        super().__init__(tokens)
        self.sure = sure

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and len(other) == len(self) and other[: self.sure] == self[: self.sure]

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Engine:
    """An engine in this process.

    Attributes:
        llm: vLLM's.
        kept: Rows kept of each picture since the last look, in the order in which they were encoded.
    """

    llm: Any
    kept: list[list[int]] = field(default_factory=list)

    def ask(self, *prompts: Prompt) -> list[Any]:
        """vLLM's outputs."""
        self.kept.clear()
        return self.generate([prompt.for_vllm() for prompt in prompts])

    def generate(self, given: Sequence[Any]) -> list[Any]:
        """vLLM's outputs for its own kind of prompts."""
        from vllm import SamplingParams

        greedy = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
        return self.llm.generate(given, greedy, use_tqdm=False)

    def answers(self, *prompts: Prompt) -> list[list[int]]:
        """Their tokens."""
        return [list(output.outputs[0].token_ids) for output in self.ask(*prompts)]


@dataclass
class Prompt:
    """A question about pictures and videos, and what the request says about pruning; "" for nothing."""

    images: Sequence[Image.Image]
    pruner: Any = ""
    question: str = samples.QUESTION
    written: Callable[..., str] = samples.prompt
    uuids: Sequence[str] = ()
    videos: Sequence[samples.Clip] = ()

    @property
    def text(self) -> str:
        """Before the processor."""
        return self.written(len(self.images), self.question, *[len(self.videos)] * bool(self.videos))

    def for_vllm(self) -> dict[str, Any]:
        made: dict[str, Any] = {"prompt": self.text, "multi_modal_data": {}}
        if self.images:
            made["multi_modal_data"]["image"] = list(self.images)
        if self.videos:
            made["multi_modal_data"]["video"] = [(video.array, video.metadata) for video in self.videos]
        if self.pruner != "":
            made["mm_processor_kwargs"] = {"visual_pruner": self.pruner}
        if self.uuids:
            made["multi_modal_uuids"] = {"image": list(self.uuids)}
        return made


@contextmanager
def engine(folder: Path, pruner: Any, **options: Any) -> Iterator[Engine]:
    """An engine on the checkpoint in ``folder``, with the plugin unless ``pruner`` is None."""
    with in_this_process():
        from vllm import LLM
        from vllm.distributed import cleanup_dist_env_and_memory

        given = {
            "dtype": "float32", "max_model_len": 4096, "enforce_eager": True, "max_num_seqs": 8, "block_size": 32,
            "limit_mm_per_prompt": {"image": 4}, "kv_cache_memory_bytes": 256 * 2**20, "disable_log_stats": True,
        }  # fmt: skip
        overrides = overrides_for(folder, pruner)
        made = Engine(LLM(str(folder), **{**given, **overrides, **options}))
        selection, agreed = Group._selection, worker.agreed
        rows: list[list[int]] = []

        def noted(group: Any, tokens: Any) -> Any:
            found = selection(group, tokens)
            rows[:] = ([row for row in kept if row >= 0] for kept in found.kept.tolist())
            return found

        def encoded(*arguments: Any) -> Any:  # a request's spec is tried out first, on nobody's picture
            out = agreed(*arguments)
            made.kept.extend(rows)
            return out

        with mock.patch.object(Group, "_selection", noted), mock.patch.object(worker, "agreed", encoded):
            try:
                yield made
            finally:
                made.llm.llm_engine.engine_core.shutdown()
                made.llm = None
                gc.collect()
                cleanup_dist_env_and_memory()


def overrides_for(folder: Path, pruner: Any) -> dict[str, Any]:
    """Options that put the plugin in charge."""
    if pruner is None:
        return {}
    from transformers import AutoConfig

    kind = AutoConfig.from_pretrained(folder).model_type
    return {"hf_overrides": {"architectures": [ARCHITECTURES[kind]], "visual_pruner": pruner}}


@contextmanager
def in_this_process() -> Iterator[None]:
    """Engines run here, so that what they keep can be seen; the second in one process needs a hand.

    On a CPU vLLM registers kernels once per worker by going through all modules, and stumbles over one of numba's.
    """
    from vllm.platforms import current_platform
    from vllm.triton_utils import dispatcher

    here = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    done = mock.patch.object(type(current_platform), "register_triton_kernel_overrides", classmethod(lambda cls: None))
    with mock.patch.dict(os.environ, here):
        if dispatcher._registry:
            with done:
                yield
        else:
            yield


@dataclass
class HuggingFace:
    """The same checkpoint in transformers."""

    model: Any
    processor: Any

    @classmethod
    def load(cls, folder: Path) -> HuggingFace:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        return cls(model, AutoProcessor.from_pretrained(folder))

    def inputs(self, prompt: Prompt) -> Any:
        """What its processor makes of a prompt; all frames of videos are used."""
        media: dict[str, Any] = {"images": list(prompt.images)} if prompt.images else {}
        if prompt.videos:
            media["videos"] = [video.array for video in prompt.videos]
            media["video_metadata"] = [VideoMetadata(**video.metadata) for video in prompt.videos]
            media["do_sample_frames"] = False
        return self.processor(text=prompt.text, return_tensors="pt", **media)

    def answer(self, prompt: Prompt, pruner: Any = None) -> tuple[Answer, list[list[int]]]:
        """Its tokens, and the rows kept of each picture; without a pruner nothing is pruned."""
        inputs = self.inputs(prompt)
        if pruner is None:
            return self._generated(inputs), []
        with scope.Pruner(pruner).attach(self.model) as pruning:
            out = self._generated(inputs)
            kept = pruning.receipt.selection.kept.tolist()
        return out, [[row for row in rows if row >= 0] for rows in kept]

    def _generated(self, inputs: Any) -> Answer:
        options = {"max_new_tokens": TOKENS, "do_sample": False, "eos_token_id": None}
        out = self.model.generate(**inputs, **options, output_scores=True, return_dict_in_generate=True)
        best = torch.cat(out.scores).topk(2).values
        near = (best[:, 0] - best[:, 1] < TIE).tolist()
        tokens = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        return Answer(tokens, near.index(True) if True in near else len(tokens))

    def rows(self, image: Image.Image, kept: Sequence[int]) -> torch.Tensor:
        """(K, D) what the language model reads of a picture's rows ``kept``."""
        pixels = self.processor.image_processor(images=image, return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            return self.model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output[0][list(kept)]

    def firm(self, prompt: Prompt, pruner: Any) -> bool:
        """Whether its selection stays the same where features and signals are rounded differently.

        Some methods go by ranks that the last digits decide; vLLM's digits are its own.
        """
        inputs = self.inputs(prompt)
        made = scope.Pruner(pruner)
        with made.attach(self.model) as pruning:
            seen = pruning.encode(inputs)
        kept = made.prune(seen.tokens, seen.layout).mask
        chance = torch.Generator().manual_seed(0)

        def shaken(tensor: torch.Tensor) -> torch.Tensor:
            return tensor * (1 + 3e-5 * torch.randn(tensor.shape, generator=chance))

        for _ in range(5):
            signals = seen.tokens.signals.map(lambda _, tensor: shaken(tensor))
            tokens = replace(seen.tokens, features=shaken(seen.tokens.features), signals=signals)
            if not torch.equal(made.prune(tokens, seen.layout).mask, kept):
                return False
        return True
