"""The HTTP server on a model that cuts images into tiles, without a chat template and without requests for budgets."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import torch
import transformers
from samples import picture, prompt
from servers import serving
from test_http import told

import scope_core as scope


def test_a_tiled_model_without_a_template(llava_next: Path, tmp_path: Path) -> None:
    """LLaVA-NeXT, our chat template, no requests for budgets; ended by SIGTERM it leaves no counters behind."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in llava_next.iterdir():
        if file.name != "chat_template.jinja":
            (folder / file.name).symlink_to(file)
    processor = transformers.AutoProcessor.from_pretrained(llava_next)
    model = transformers.LlavaNextForConditionalGeneration.from_pretrained(llava_next).eval()
    pruner = scope.Pruner("scope@20")
    with serving(folder, "scope@20", tmp_path / "log.txt") as server:
        for images in ([picture(1, (400, 100))], [picture(2, (90, 100)), picture(3, (300, 300))]):
            text = f"<s>{prompt(len(images))}"
            inputs = processor(text=text, images=images, return_tensors="pt")
            with pruner.attach(model) as pruning, torch.no_grad():
                out = model.generate(**inputs, max_new_tokens=10, do_sample=False)
            wanted = processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            gone = sum(image.tokens - image.kept for image in pruning.receipt.images)  # newline tokens stay
            assert told(server.ask(*images)) == (wanted, inputs["input_ids"].shape[1] - gone)
        for size in ((1, 1), (900, 2), (2, 900), (1, 700), (3000, 3000)):
            answer = server.ask(picture(8, size))
            assert answer.status_code in (200, 400), (size, answer.text)
            assert server.healthy(), size
        refused = server.ask(picture(1), mm_processor_kwargs={"visual_pruner": 9})
        assert refused.status_code == 400
        assert "--trust-request-mm-kwargs" in refused.text
        assert server.counters()["scope_images_total"] >= 3
        counts = [Path(part) for part in server.process.cmdline() if "visual_pruner_metrics" in part]
        assert counts, server.process.cmdline()
        (kept,) = [json.loads(str(part))["visual_pruner_metrics"] for part in counts]
        assert [folder.name for folder in Path(kept).iterdir()] == [str(server.process.pid)]  # of this server alone
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 143
        assert not Path(kept).exists()
