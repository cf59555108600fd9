"""An installed third-party part that raises, or returns NaN, on every third picture of a server under load."""

from __future__ import annotations

import itertools
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from engines import HuggingFace, Prompt
from samples import picture
from servers import Server, serving

import scope_core as scope

KEEP = 64
FAULTY = (1, 4, 7, 10)
"""Every third picture."""
NAMES = {"raising": "acme.raising", "nan": "acme.nan"}
PLUGIN = """
from typing import Literal

import torch
from scope_core.parts import ComponentSpec, Entry, SaliencySource, hookimpl

class RaisingSpec(ComponentSpec):
    name: Literal["acme.raising"] = "acme.raising"

class NanSpec(ComponentSpec):
    name: Literal["acme.nan"] = "acme.nan"

def faulty(tokens):
    means = tokens.features[:, :, 0].float().mean(1)
    return (means[:, None] - torch.tensor(FAULTY)).abs().amin(1) < 1e-4

class Raising(SaliencySource):
    def score(self, tokens):
        if bool(faulty(tokens).any()):
            raise KeyError("a picture it does not like")
        return tokens.features.float().norm(dim=-1)

class Nan(SaliencySource):
    def score(self, tokens):
        norms = tokens.features.float().norm(dim=-1)
        return norms.masked_fill(faulty(tokens)[:, None], torch.nan)

@hookimpl
def scope_saliency_sources():
    return [Entry(RaisingSpec, Raising, "raises on some"), Entry(NanSpec, Nan, "NaN on some")]
"""


@pytest.fixture(scope="module")
def huggingface(llava: Path) -> HuggingFace:
    return HuggingFace.load(llava)


@pytest.fixture(scope="module")
def pictures(huggingface: HuggingFace) -> tuple[list[Any], set[int], list[float]]:
    """Twelve pictures, the numbers of the four that the part fails on, and a number of each of those four."""
    images, means = [picture(seed) for seed in range(12)], []
    with scope.Pruner("uniform_grid@64").attach(huggingface.model) as pruning:
        for image in images:
            inputs = huggingface.inputs(Prompt([image]))
            means.append(float(pruning.encode(inputs).tokens.features[0, :, 0].mean()))
    assert min(abs(one - other) for one, other in itertools.combinations(means, 2)) > 3e-4
    return images, set(FAULTY), [means[number] for number in FAULTY]


def site(folder: Path, marks: list[float]) -> Path:
    """A folder with the package, installed."""
    info = folder / "acme_faulty-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[scope_core]\nacme = acme_faulty\n")
    (folder / "acme_faulty.py").write_text(PLUGIN.replace("FAULTY", repr(marks)))
    return folder


def table(saliency: str) -> dict[str, Any]:
    return {"recipe": "scope", "saliency": saliency, "combiner": "saliency_only", "budget": KEEP}


def fallbacks(server: Server) -> dict[tuple[str, str, str], float]:
    """The counter by its labels."""
    found = re.findall(r"^scope_fallbacks_total\{(.*)\} (\S+)$", server.metrics(), re.MULTILINE)
    labels = [(dict(re.findall(r'(\w+)="([^"]*)"', text)), float(number)) for text, number in found]
    return {(one["part"], one["distribution"], one["reason"]): number for one, number in labels}


def asked(server: Server, images: list[Any], pairs: list[tuple[int, ...]], saliency: str) -> list[Any]:
    """The answers to requests that come at once, some of them without a picture."""
    own = {"mm_processor_kwargs": {"visual_pruner": table(saliency)}}

    def ask(pair: tuple[int, ...]) -> Any:
        chosen = [images[number] for number in pair]
        return server.ask(*chosen, **(own if pair else {}))

    with ThreadPoolExecutor(8) as clients:
        return list(clients.map(ask, pairs))


@pytest.mark.parametrize("strict", [False, True], ids=["", "strict"])
def test_requests_at_once_with_faulty_pictures_among_them(
    llava: Path, huggingface: HuggingFace, pictures: Any, tmp_path: Path, strict: bool
) -> None:
    images, faulty, marks = pictures
    pairs: list[tuple[int, ...]] = [(number,) for number in range(12)]
    pairs[4:4] = [(), (0, 1), (2, 3), ()]
    log, where = tmp_path / "log.txt", site(tmp_path / "site", marks)
    options = ("--limit-mm-per-prompt", json.dumps({"image": 3}))
    with serving(llava, f"scope@{KEEP}", log, *options, per_request=True, strict=strict, site=where) as server:
        for name, reason in (("raising", "KeyError"), ("nan", "TokensError")):
            before = fallbacks(server)
            answers = asked(server, images, pairs, NAMES[name])
            for pair, answer in zip(pairs, answers, strict=True):
                if set(pair) & faulty and strict:
                    assert answer.status_code == 500, (pair, answer.text)
                    continue
                assert answer.status_code == 200, (pair, answer.text)
                if not set(pair) & faulty:
                    assert answer.json()["usage"]["prompt_tokens"] > KEEP * len(pair)
                if len(pair) == 1:
                    wanted = "uniform_grid@64" if set(pair) & faulty else {**table("feature_norm")}
                    text = spoken(huggingface, Prompt([images[pair[0]]]), wanted)
                    assert answer.json()["choices"][0]["message"]["content"].startswith(text), pair
            (label,) = set(fallbacks(server)) - set(before)
            assert label == (f"saliency '{NAMES[name]}'", "acme-faulty 1.0", reason)
            assert fallbacks(server)[label] >= len(faulty)
            assert server.healthy()
            wanted = spoken(huggingface, Prompt([images[0]]), f"scope@{KEEP}")
            assert server.ask(images[0]).json()["choices"][0]["message"]["content"].startswith(wanted)
    lines = [line for line in log.read_text().splitlines() if "failed on an image or a video" in line]
    assert len(lines) == 2, lines  # at most one a minute for the same part and reason
    assert all(("end with an error" if strict else "evenly spaced tokens") in line for line in lines)
    assert "a picture it does not like" in lines[0]


def spoken(huggingface: HuggingFace, prompt: Prompt, spec: Any) -> str:
    """What Hugging Face answers, up to the first word that another is as likely as."""
    answer, _ = huggingface.answer(prompt, spec)
    text: str = huggingface.processor.tokenizer.decode(list(answer)[: answer.sure], skip_special_tokens=True)
    return text
