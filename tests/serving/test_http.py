"""The HTTP server as users start it, on tiny checkpoints: answers, budgets, bad requests, counters, a dead worker."""

from __future__ import annotations

import base64
import functools
import io
import json
import random
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from engines import HuggingFace, Prompt
from PIL import Image, ImageOps
from samples import picture, prompt
from servers import Server, serving, wait

import scope_core as scope

ENGINE = 64
SIZES = ((320, 240), (100, 400), (640, 480), (336, 336), (40, 30))


@pytest.fixture(scope="module")
def server(llava: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with serving(llava, f"scope@{ENGINE}", log, "--limit-mm-per-prompt", '{"image": 3}', per_request=True) as running:
        yield running


@pytest.fixture(scope="module")
def huggingface(llava: Path) -> HuggingFace:
    return HuggingFace.load(llava)


@pytest.fixture(scope="module")
def reference(huggingface: HuggingFace) -> Any:
    """What Hugging Face answers with our attach(), and how long its prompt is with the tokens that are planned."""
    processor, model = huggingface.processor, huggingface.model
    words = processor.tokenizer

    def answer(images: list, spec: str = f"scope@{ENGINE}", question: str = "What is in the picture?"):
        inputs = processor(text=prompt(len(images), question), images=images, return_tensors="pt")
        pruner = scope.Pruner(spec)
        with pruner.attach(model), torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=10, do_sample=False)
        text = words.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        planned = sum(pruner.plan([576] * len(images)).images)
        return text, inputs["input_ids"].shape[1] - 576 * len(images) + planned

    return answer


def told(response: httpx.Response) -> tuple[str, int]:
    """An answer, and the length of its prompt."""
    assert response.status_code == 200, response.text
    found = response.json()
    return found["choices"][0]["message"]["content"], found["usage"]["prompt_tokens"]


def test_concurrent_clients_with_mixed_images_and_budgets(
    server: Server, reference: Any, huggingface: HuggingFace
) -> None:
    """Sixteen at once; each gets what Hugging Face answers with the same spec, at the planned length."""
    chance = random.Random(7)
    asked = []
    for number in range(24):
        images = [picture(chance.randrange(12), chance.choice(SIZES)) for _ in range(chance.choice((1, 1, 2, 3)))]
        spec = chance.choice((f"scope@{ENGINE}", "scope@9", "divprune@20", "top_k_attention@33"))
        asked.append((images, spec, chance.choice(("What is in the picture?", f"Is it red, number {number}?"))))

    def ask(images: list, spec: str, question: str) -> tuple[str, int]:
        own = {} if spec == f"scope@{ENGINE}" else {"mm_processor_kwargs": {"visual_pruner": spec}}
        return told(server.ask(*images, question=question, **own))

    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda one: ask(*one), asked))
    firm = [huggingface.firm(Prompt(images, question=question), spec) for images, spec, question in asked]
    assert [answer for answer, sure in zip(answers, firm, strict=True) if sure] == [
        reference(*one) for one, sure in zip(asked, firm, strict=True) if sure
    ]
    assert sum(firm) >= 20  # the others' last picks hang on the last digits, which depend on the batch
    assert len({text for text, _ in answers}) > 18


def test_a_request_for_fewer_tokens_in_each_way_of_writing_it(server: Server, reference: Any) -> None:
    image = picture(50)
    wanted = reference([image], "scope@12")
    for value in (12, "scope@12", {"budget": 12}, {"recipe": "scope", "budget": {"name": "tokens", "keep": 12}}):
        assert told(server.ask(image, mm_processor_kwargs={"visual_pruner": value})) == wanted, value
    assert told(server.ask(image)) == reference([image]) != wanted


BAD_BUDGETS = (
    0, -1, ENGINE + 1, 10**9, 1.5, -0.1, True, "", "nope@3", "fastv@9", "mmtok@9", "prumerge", "scope@-3",
    "pruner.yaml", "../../secret.json", [], {"budget": 577}, {"budgett": 3}, {"recipe": "scope", "budget": "x"},
    functools.reduce(lambda inner, _: {"combiner": inner}, range(900), {}), {"combiner": "x" * 60_000}, "9" * 5000,
    {"saliency": {"name": "cls_attention", "layer": 99}}, {"budget": {"name": "tokens", "keep": 1, "per": "total"}},
)  # fmt: skip


def test_bad_budgets_are_refused_and_harm_nobody(server: Server, reference: Any) -> None:
    image = picture(3)
    for value in BAD_BUDGETS:
        response = server.ask(image, mm_processor_kwargs={"visual_pruner": value})
        assert response.status_code == 400, (value, response.status_code, response.text)
        assert "visual_pruner" in response.json()["error"]["message"], value
    assert server.healthy()
    assert told(server.ask(image)) == reference([image])


def test_keys_that_would_be_ignored_are_refused(server: Server) -> None:
    """Beside the options of the image processor, where vLLM reads no key that it does not know, and inside them."""
    image, fewer = picture(3), {"visual_pruner": 9}
    for wrong in (
        {"visual_pruner": 9},
        {"visualPruner": 9},
        {"visual_prunerr": "scope@9"},
        {"mm_processor_kwargs": {"visual_prunerr": 9}},
        {"mm_processor_kwargs": {"do_resize": False}},
        {"mm_processor_kwargs": {**fewer, "crop_size": 56}},
    ):
        for images in ([image], []):
            response = server.ask(*images, **wrong)
            assert response.status_code == 400, (wrong, response.text)
            assert "visual_pruner" in response.json()["error"]["message"], wrong
    for text, number in (("64", "64"), ("0.25", "0.25"), (" 9 ", "9"), ("25%", "0.25")):
        response = server.ask(image, mm_processor_kwargs={"visual_pruner": text})
        assert response.status_code == 400
        assert f"write the number without quotes: {number}" in response.json()["error"]["message"]
    assert told(server.ask(image, mm_processor_kwargs=fewer, user='"visual_pruner": 9'))


def test_a_photo_is_seen_as_it_was_held(server: Server, reference: Any) -> None:
    """Its orientation is a number in the file: the server turns it, as `scope run` does."""
    photo = picture(31, (200, 120))
    exif = photo.getexif()
    exif[0x0112] = 6
    file = saved(photo, "PNG", exif=exif)
    assert told(server.ask(url(file))) == reference([ImageOps.exif_transpose(Image.open(io.BytesIO(file)))])


def url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of ``side`` x ``side`` black pixels: small as a file, large as an image."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    pack, row = zlib.compressobj(9), bytes(1 + (side + 7) // 8)
    packed = b"".join(pack.compress(row) for _ in range(side)) + pack.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@functools.cache
def broken_images() -> dict[str, str]:
    bytes_, photo = saved(picture(1), "PNG"), saved(picture(1), "JPEG")
    return {
        "half a photo": url(photo[: len(photo) // 2], "image/jpeg"),
        "a bomb": url(bomb(30_000)),
        "a drawing": url(b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "image/svg+xml"),
        "one pixel wide": url(saved(picture(1, (1, 5000)), "PNG")),
        "one pixel high": url(saved(picture(1, (100_000, 1)), "PNG")),
        "half a file": url(bytes_[: len(bytes_) // 2]),
        "no image": url(b"GIF87a is what I am not"),
        "empty": url(b""),
        "no base64": "data:image/png;base64,@@@@",
        "damaged header": url(bytes_[:16] + b"\xff" * 8 + bytes_[24:]),
        "no such scheme": "gopher://127.0.0.1/a.png",
        "nothing": "",
    }


@pytest.mark.parametrize("name", broken_images())
def test_malformed_images_are_refused_and_harm_nobody(server: Server, name: str) -> None:
    response = server.ask(broken_images()[name])
    assert 400 <= response.status_code < 500, (response.status_code, response.text)
    reason = {"a bomb": "exceed the maximum", "one pixel wide": "too narrow", "one pixel high": "too narrow"}
    assert reason.get(name, "") in response.text
    assert server.healthy()


def test_files_of_the_server_are_not_read(server: Server) -> None:
    """vLLM's own refusal, which has status 500."""
    response = server.ask("file:///etc/hostname")
    assert response.status_code >= 400
    assert "--allowed-local-media-path" in response.text
    assert server.healthy()


def test_odd_images_are_answered_as_by_hugging_face(server: Server, reference: Any) -> None:
    """One pixel, one line, grey, palette, black and white, for printing, animated."""
    odd = [
        picture(1, (1, 1)),
        picture(2, (900, 1)),
        picture(4).convert("L"),
        picture(5).quantize(16),
        picture(6).convert("1"),
    ]
    files = [(saved(image, "PNG"), "image/png") for image in odd]
    files.append((saved(picture(7).convert("CMYK"), "JPEG"), "image/jpeg"))
    files.append((saved(picture(8), "GIF", save_all=True, append_images=[picture(9)]), "image/gif"))  # the first one
    for content, kind in files:
        plain = Image.open(io.BytesIO(content)).convert("RGB")
        assert told(server.ask(url(content, kind))) == reference([plain]), (kind, plain.size)


def test_too_many_images_are_refused(server: Server) -> None:
    response = server.ask(*[picture(seed) for seed in range(4)])
    assert 400 <= response.status_code < 500
    assert server.healthy()


def test_the_dashboard_and_the_alerts_read_metrics_that_are_there(server: Server) -> None:
    """docs/serving/grafana.json and the rules in docs/operate.md, by the names that the running server reports."""
    told(server.ask(picture(911)))
    docs = Path(__file__).resolve().parents[2] / "docs"
    panels = json.loads((docs / "serving" / "grafana.json").read_text())["panels"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    asked += re.findall(r"^ *expr: (.+)$", (docs / "operate.md").read_text(), re.MULTILINE)
    read = set(re.findall(r"(?:scope_|vllm:)[a-z_]+", " ".join(asked)))
    assert len(read) >= 11
    metrics = server.metrics()
    assert [name for name in read if not re.search(rf"^(# TYPE )?{name}[ {{]", metrics, re.MULTILINE)] == []
    ours = {name for name in re.findall(r"^# TYPE (scope_\w+)", metrics, re.MULTILINE) if not name.endswith("_created")}
    assert ours <= read


def test_counters_and_log_lines(server: Server) -> None:
    before = server.counters()
    told(server.ask(picture(901), picture(902)))
    told(server.ask(picture(903), mm_processor_kwargs={"visual_pruner": 9}))
    after = server.counters()
    more = {name: after[name] - before.get(name, 0) for name in after}
    seconds, encoding = (more.pop(f"scope_{name}_seconds_total") for name in ("selection", "encoder"))
    assert more == {
        "scope_images_total": 3,
        "scope_visual_tokens_in_total": 3 * 576,
        "scope_visual_tokens_kept_total": 2 * ENGINE + 9,
    }
    assert 0 < seconds < encoding < 60
    told(server.ask(picture(901), picture(902)))
    assert server.counters() == after  # answered from vLLM's caches: nothing was encoded
    log, metrics = server.log.read_text(), server.metrics()
    assert "scope@9: 1 images, 576 -> 9 visual tokens" in log
    (line,) = [line for line in log.splitlines() if "scope-core prunes: " in line]
    (info,) = [line for line in metrics.splitlines() if line.startswith("scope_serving_info{")]
    for fact in (f"scope@{ENGINE}", f"{ENGINE} of 576 visual tokens", scope.__version__, "0.32.0"):
        assert fact in line
        assert fact in info
    for spec in (f"scope@{ENGINE}", "request"):
        assert f'scope_images_total{{spec="{spec}"}}' in metrics


def test_the_guides_clients(
    server: Server, reference: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """What docs/serving.md shows, run: only the address differs."""
    page = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
    shown = re.findall(r"```python no-run\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ask, per_request = (block for block in shown if "client" in block)
    photo = picture(60)
    photo.save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"prompt": ""}
    exec(
        ask.replace("http://127.0.0.1:8000", server.url).replace("max_tokens=64", "max_tokens=10, temperature=0"), names
    )
    text, length = reference([Image.open("photo.jpg")], question="What is in the image?")
    printed = capsys.readouterr().out.rstrip("\n")
    assert printed == f"{text} {length}"
    exec(per_request.replace("max_tokens=64", "max_tokens=10, temperature=0"), names)
    assert names["answer"].usage.prompt_tokens == length - ENGINE + 32


def test_killing_the_worker_fails_requests_and_ends_the_server(server: Server) -> None:
    """Last in this file: the server is gone after it."""
    assert told(server.ask(picture(3)))
    (worker,) = server.workers()
    ended: list[Any] = []

    def ask() -> None:
        try:
            ended.append(server.ask(picture(77), max_tokens=1900, min_tokens=1900, timeout=300))
        except httpx.TransportError as error:
            ended.append(error)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    running = "vllm:num_requests_running"
    wait(lambda: any(
        line.startswith(running) and float(line.split()[-1]) >= 1
        for line in httpx.get(f"{server.url}/metrics", timeout=30).text.splitlines()
    ), 60)  # fmt: skip
    worker.kill()
    for client in clients:
        client.join(120)
    assert len(ended) == 2, "a client still waits for a worker that is dead"
    for answer in ended:
        assert isinstance(answer, httpx.TransportError) or answer.status_code >= 500, answer
    wait(lambda: server.process.poll() is not None or not server.healthy(), 120)
    assert not server.healthy()
    assert server.process.wait(60) == 1
