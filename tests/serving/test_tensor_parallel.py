"""Two ranks, each with half of the heads: one selects, by all heads, and both use what it selected."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import internvl_checkpoints
import pytest
import qwen_checkpoints
import samples
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


OF_GRIDS: list[Any] = ["scope@no_cls@9", "tome@9", "visionzip@no_cls@9", "divprune@9"]


OF_TILES: list[Any] = ["scope@12", "tome@12", "top_k_attention@12", "divprune@12"]
"""Every rank has all heads of InternVL's tower."""


@pytest.mark.parametrize("kind", ["llava", "internvl", "qwen2_vl", "qwen2_5_vl"])
def test_two_ranks_answer_as_hugging_face(
    kind: str, llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vllm import LLM, SamplingParams

    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # one memory node is enough for two ranks
    folder, written, specs = llava, samples.prompt, SPECS
    if kind == "internvl":
        folder, written, specs = internvl_checkpoints.internvl(tmp_path), internvl_checkpoints.prompt, OF_TILES
    elif kind != "llava":
        folder, written, specs = qwen_checkpoints.qwen(tmp_path, kind), qwen_checkpoints.prompt, OF_GRIDS
    huggingface = HuggingFace.load(folder)
    llm = LLM(
        str(folder), tensor_parallel_size=2, dtype="float32", max_model_len=2048, enforce_eager=True, max_num_seqs=8,
        kv_cache_memory_bytes=256 * 2**20, limit_mm_per_prompt={"image": 2}, **overrides_for(folder, specs[0]),
    )  # fmt: skip
    try:
        assert sorted(llm.collective_rpc(only_the_first_rank_selects)) == [0, 1]
        greedy = SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True)
        images = ([picture(1)], [picture(2), picture(3, (100, 200))])
        prompts = [Prompt(some, written=written) for some in images]
        for spec in specs:
            given = [replace(prompt, pruner=spec).for_vllm() for prompt in prompts]
            answers = [list(output.outputs[0].token_ids) for output in llm.generate(given, greedy, use_tqdm=False)]
            assert answers == [huggingface.answer(prompt, spec)[0] for prompt in prompts], spec
    finally:
        llm.llm_engine.engine_core.shutdown()
