"""Two ranks, each with half of the heads: one selects, by all heads, and both use what it selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engines import TOKENS, HuggingFace, Prompt, overrides_for
from samples import picture

SPECS: list[Any] = [
    "scope@64",
    {"recipe": "scope", "budget": 64, "saliency": {"name": "cls_attention", "heads": "max"}},
    {"recipe": "tome", "budget": 64},
    {"recipe": "divprune", "budget": 64},
]


def only_the_first_rank_selects(_worker: Any) -> int:
    from vllm.distributed import get_tp_group

    from scope_adapters.serving import fallback

    rank: int = get_tp_group().rank_in_group
    if rank:

        def select(*_: Any) -> Any:
            raise RuntimeError("this rank has nothing to select")

        fallback.select = select  # type: ignore[assignment]
    return rank


def test_two_ranks_answer_as_hugging_face(llava: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import LLM, SamplingParams

    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # one memory node is enough for two ranks
    huggingface = HuggingFace.load(llava)
    llm = LLM(
        str(llava), tensor_parallel_size=2, dtype="float32", max_model_len=2048, enforce_eager=True, max_num_seqs=8,
        kv_cache_memory_bytes=256 * 2**20, limit_mm_per_prompt={"image": 2}, **overrides_for(llava, "scope@64"),
    )  # fmt: skip
    try:
        assert sorted(llm.collective_rpc(only_the_first_rank_selects)) == [0, 1]
        greedy = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
        prompts = [Prompt([picture(1)]), Prompt([picture(2), picture(3, (100, 200))])]
        for spec in SPECS:
            given = [Prompt(prompt.images, spec).for_vllm() for prompt in prompts]
            answers = [list(output.outputs[0].token_ids) for output in llm.generate(given, greedy, use_tqdm=False)]
            assert answers == [huggingface.answer(prompt, spec)[0] for prompt in prompts], spec
    finally:
        llm.llm_engine.engine_core.shutdown()
