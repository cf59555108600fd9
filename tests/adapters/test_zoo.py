"""Zoo entries are consistent, and the loader works on checkpoints of several classes, saved with random weights."""

from __future__ import annotations

import logging
import socket
import warnings
from pathlib import Path
from typing import Any

import offers
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import (
    LlavaNextProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

import scope_core as scope
from adapters import anyres, models
from adapters.installed import image_processor
from scope_adapters.zoo.hub import load_model
from scope_adapters.zoo.requests import RETRIES, requests_to
from scope_core.adapters import ZooEntry

IMAGE_TOKEN = "<image>"
TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}{% endfor %} answer"
)


def entries() -> list[ZooEntry]:
    return [record.item for record in scope.default_registry().records("zoo") if record.item.kind == "model"]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_entries_are_complete(entry: ZooEntry) -> None:
    registry = scope.default_registry()
    assert entry.adapter in registry.names("adapter")
    assert scope.Pruner(entry.recipe).spec.recipe in registry.names("recipe")
    assert bool(entry.licence) <= bool(entry.source)  # random weights need none; others are empty if unknown
    assert entry.parameters[-1:] in ("M", "B", "")
    assert entry.summary
    assert entry.requires
    assert entry.is_cached() in (True, False)


def test_checkpoints_that_people_use() -> None:
    served = {entry.source: entry.adapter for entry in entries()}
    for source, adapter in {
        "llava-hf/llava-1.5-7b-hf": "llava",
        "llava-hf/llava-1.5-13b-hf": "llava",
        "llava-hf/llava-v1.6-vicuna-7b-hf": "llava_next",
        "llava-hf/llava-v1.6-vicuna-13b-hf": "llava_next",
        "llava-hf/llava-v1.6-mistral-7b-hf": "llava_next",
        "llava-hf/llava-onevision-qwen2-7b-ov-hf": "llava_onevision",
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct": "smolvlm",
        "OpenGVLab/InternVL3-8B-hf": "internvl",
        "Qwen/Qwen2.5-VL-7B-Instruct": "qwen2_5_vl",
    }.items():
        assert served[source] == adapter
    assert len({entry.name for entry in entries()}) == len(entries())


def tokenizer(*special: str, image: str = IMAGE_TOKEN) -> PreTrainedTokenizerFast:
    """Words by number; unknown ones are 3."""
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "what": 4, "is": 5, "this": 6, "answer": 7}
    numbers = dict(zip((image, *special), range(models.PLACEHOLDER, models.VOCABULARY), strict=False))
    words |= {f"w{n}": n for n in range(8, models.PLACEHOLDER)} | numbers
    words |= {f"w{n}": n for n in range(models.PLACEHOLDER + len(numbers), models.VOCABULARY)}
    made = Tokenizer(WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    inputs = ["input_ids", "attention_mask"]  # up to 4.57 there would be token_type_ids as well
    more = [image, *special]
    return PreTrainedTokenizerFast(
        tokenizer_object=made, additional_special_tokens=more, model_input_names=inputs, **names
    )


def saved(kind: str, folder: Path, *, template: bool = True) -> Path:
    """A checkpoint with its processor."""
    side = {"size": {"height": 28, "width": 28}}
    crop = {"size": {"shortest_edge": 28}, "crop_size": side["size"]}
    chat = {"chat_template": TEMPLATE} if template else {}
    grid = {"image_grid_pinpoints": [[28 * rows, 28 * cols] for rows, cols in anyres.CANVASES]}
    if kind == "llava":
        model: Any = models.shared("clip")
        pictures = image_processor("clip", "CLIPImageProcessor")(**crop)
        parts: dict[str, Any] = {"num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
        processor: Any = LlavaProcessor(pictures, tokenizer(), patch_size=7, **parts, **chat)
    elif kind == "llava_next":
        model = anyres.next_model()
        pictures = image_processor("llava_next", "LlavaNextImageProcessor")(**crop, **grid)
        parts = {"num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
        processor = LlavaNextProcessor(pictures, tokenizer(), patch_size=7, **parts, **chat)
    else:
        model = anyres.onevision_model()
        pictures = image_processor("llava_onevision", "LlavaOnevisionImageProcessor")(**side, **grid)
        parts = {
            "num_image_tokens": 16,
            "vision_feature_select_strategy": "full",
            "vision_aspect_ratio": "anyres_max_2",
        }
        processor = LlavaOnevisionProcessor(
            pictures, tokenizer("<video>"), LlavaOnevisionVideoProcessor(), **parts, **chat
        )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def picture(width: int, height: int) -> Image.Image:
    values = torch.randint(0, 255, (height, width, 3), generator=torch.Generator().manual_seed(width))
    return Image.frombytes("RGB", (width, height), bytes(values.flatten().tolist()))


SPECS = {"llava": "top_k_attention", "llava_next": "top_k_attention", "llava_onevision": "coverage_only"}


@offers.saved_models
@pytest.mark.parametrize("kind", SPECS)
def test_a_saved_checkpoint_loads_and_is_pruned(kind: str, tmp_path: Path) -> None:
    """From pictures to text, through the processor's own numbers of placeholders."""
    loaded = load_model(str(saved(kind, tmp_path)))
    pictures = [picture(50, 40), picture(30, 100)]
    for images in (pictures[:1], pictures):
        inputs = loaded.inputs(images, "what is this")
        baseline = loaded.model.generate(**inputs, max_new_tokens=3, do_sample=False)
        with scope.Pruner(f"{SPECS[kind]}@6").attach(loaded.model) as pruning:
            made = loaded.model.generate(**inputs, max_new_tokens=3, do_sample=False)
            planned = pruning.plan([(image.height, image.width) for image in images])
        assert [image.kept for image in pruning.receipt.images] == [6] * len(images)
        if kind != "llava_onevision" or len(images) == 1:
            assert [i.tokens for i in planned.layout.images] == [i.tokens for i in pruning.receipt.images]
        assert made.shape == baseline.shape
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is drawn is what the model reads, tile by tile
            pruning.receipt.show(images, view=loaded.view)
        assert isinstance(loaded.decode(made[0]), str)
    words = loaded.inputs([], "what is this")
    assert words["input_ids"].tolist() == [[4, 5, 6, 7]]


@offers.saved_models
def test_dtype_and_attention(tmp_path: Path) -> None:
    folder = str(saved("llava", tmp_path))
    loaded = load_model(folder, dtype=torch.bfloat16, attn_implementation="eager")
    assert loaded.model.dtype == torch.bfloat16
    assert loaded.model.config._attn_implementation == "eager"
    assert not loaded.model.training
    inputs = loaded.inputs([picture(50, 40)], "what is this")
    assert inputs["pixel_values"].dtype == torch.bfloat16
    assert inputs["input_ids"].dtype == torch.int64
    with scope.Pruner("scope@4").attach(loaded.model):
        assert loaded.model.generate(**inputs, max_new_tokens=2, do_sample=False).shape[0] == 1


@offers.saved_models
def test_a_processor_without_a_chat_template(tmp_path: Path) -> None:
    loaded = load_model(str(saved("llava", tmp_path, template=False)))
    inputs = loaded.inputs([picture(50, 40)], " what is this")
    assert inputs["input_ids"].tolist() == [[*[models.PLACEHOLDER] * 16, 4, 5, 6]]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(scope.ZooError, match="cannot load"):
        load_model(str(tmp_path / "nothing"))


class TestAskingTheHub:
    """Where there is no hub: no retries, no lines about them, and the cache is used as it is."""

    @pytest.fixture
    def nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_name(*args: Any, **options: Any) -> None:
            raise socket.gaierror(-2, "Name or service not known")

        def no_waiting(seconds: float) -> None:
            raise AssertionError(f"waits {seconds} s for a hub that is not there")

        monkeypatch.setattr(socket, "getaddrinfo", no_name)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", no_waiting)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

    def test_a_model_that_is_not_in_the_cache(
        self, nowhere: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path), raising=False)  # up to 4.57
        with pytest.raises(scope.ZooError, match=r"cannot load 'acme/tiny' from the Hugging Face hub"):
            load_model("acme/tiny")
        assert "Retrying" not in capfd.readouterr().err

    def test_options(self, nowhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with requests_to("acme/tiny") as how:
            assert how == {"local_files_only": True}
        with requests_to(str(tmp_path)) as how:  # a folder is no hub's affair
            assert how == {}
        monkeypatch.setenv("https_proxy", "http://proxy.example:1")
        with requests_to("acme/tiny") as how:
            assert how == {}

    def test_a_name_that_resolves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: [])
        with requests_to("acme/tiny") as how:
            assert how == {}

    def test_silence_ends(self, nowhere: None) -> None:
        logger = logging.getLogger("huggingface_hub.utils._http")
        before = logger.level
        with requests_to("acme/tiny"):
            assert not logger.isEnabledFor(logging.WARNING)
        assert logger.level == before

    def test_the_logger_that_is_silenced_is_the_one_that_tells(self) -> None:
        from huggingface_hub.utils import _http

        assert _http.logger.name == RETRIES

    @offers.saved_models
    def test_what_is_in_the_cache_loads_at_once(
        self, nowhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "models--acme--tiny"
        commit = "a" * 40
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text(commit)
        saved("llava", home / "snapshots" / commit)
        for module in ("huggingface_hub.constants", "huggingface_hub.file_download.constants"):
            monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path), raising=False)  # up to 4.57
        assert load_model("acme/tiny").inputs([], "what is this")["input_ids"].tolist() == [[4, 5, 6, 7]]
