"""A server over two machines, which here are two starts on one: one serves, one has workers only (``--headless``)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
from engines import TOKENS, HuggingFace, Prompt
from samples import picture
from servers import HOST, OPTIONS, SETTINGS, serving, stop

SPEC = "scope@64"


def test_two_machines_answer_as_hugging_face(llava: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    both = ["--tensor-parallel-size", "2", "--nnodes", "2", "--master-addr", HOST, "--master-port", str(port)]
    second = [str(Path(sys.executable).with_name("scope")), "serve", str(llava), "--spec", SPEC, "--"]
    second += [*OPTIONS, *both, "--node-rank", "1", "--headless"]
    with (tmp_path / "second.txt").open("w") as out:
        workers = psutil.Popen(second, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **SETTINGS})
    try:
        with serving(llava, SPEC, tmp_path / "first.txt", *both, "--node-rank", "0") as server:
            huggingface = HuggingFace.load(llava)
            for seed, size in enumerate([(336, 336), (480, 360), (200, 500)]):
                image = picture(seed, size)
                answer = server.ask(image, max_tokens=TOKENS).json()["choices"][0]["message"]["content"]
                wanted, _ = huggingface.answer(Prompt([image]), SPEC)
                assert wanted.sure >= TOKENS // 2
                words = huggingface.processor.tokenizer
                assert answer.startswith(words.decode(wanted[: wanted.sure], skip_special_tokens=True)), (seed, size)
            assert workers.poll() is None
            assert server.counters()["scope_visual_tokens_kept_total"] == 3 * 64
    finally:
        stop(workers)
