"""``scope serve`` up to the command that it would run, and the counters: none of it needs vLLM."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.conftest import Ran, run
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaNextConfig,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)

import scope_core as scope
from scope_adapters.serving import launch, metrics
from scope_adapters.serving.launch import command
from scope_adapters.serving.options import given, user_overrides_in

OURS = "visual_pruner"


@pytest.fixture
def scope_() -> Callable[..., Ran]:
    return run


def checkpoint(folder: Path, *, tiled: bool = False, text: type = LlamaConfig, tower: type = CLIPVisionConfig) -> Path:
    """A checkpoint's configuration, without weights."""
    vision = tower(
        hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4, image_size=28, patch_size=7
    )
    language = text(
        hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=200,
    )  # fmt: skip
    more = {"image_grid_pinpoints": [[28, 56], [56, 28]]} if tiled else {}
    made = (LlavaNextConfig if tiled else LlavaConfig)(
        vision_config=vision, text_config=language, image_token_id=150, architectures=["Theirs"], **more
    )
    made.save_pretrained(folder)
    return folder


def value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


class TestCommand:
    def test_llava(self, tmp_path: Path) -> None:
        words = command(str(checkpoint(tmp_path)), "scope@9")
        assert words[:5] == [sys.executable, "-m", "scope_adapters.serving.server", "--model", str(tmp_path)]
        overrides = json.loads(value(words, "--hf-overrides"))
        assert overrides["architectures"] == ["ScopeLlavaForConditionalGeneration"]
        assert overrides[OURS] == "scope@9"
        assert not Path(overrides["visual_pruner_metrics"]).exists()
        assert "--trust-request-mm-kwargs" not in words

    def test_llava_next(self, tmp_path: Path) -> None:
        words = command(str(checkpoint(tmp_path, tiled=True)), "scope@9", per_request=True)
        overrides = json.loads(value(words, "--hf-overrides"))
        assert overrides["architectures"] == ["ScopeLlavaNextForConditionalGeneration"]
        assert "--trust-request-mm-kwargs" in words

    def test_strict(self, tmp_path: Path) -> None:
        words = command(str(checkpoint(tmp_path)), "scope@9", strict=True)
        assert json.loads(value(words, "--hf-overrides"))["visual_pruner_strict"] is True
        assert value(words, "--scheduler-cls") == "scope_adapters.serving.scheduler.strict_scheduler"
        assert "--scheduler-cls" not in command(str(tmp_path), "scope@9")

    def test_little_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The build for CPUs stops where less is free than the share that it asks for."""
        folder, option = str(checkpoint(tmp_path)), "--gpu-memory-utilization"
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        for is_cpu, free, share in ((True, 0.6, "0.3"), (True, 0.99, None), (False, 0.6, None), (True, None, None)):
            monkeypatch.setattr(launch, "_is_cpu_build", lambda is_cpu=is_cpu: is_cpu)
            monkeypatch.setattr(
                launch, "free_memory", lambda free=free: None if free is None else int(free * total) + 9
            )
            words = command(folder, "scope@9")
            assert (value(words, option) if option in words else None) == share
        monkeypatch.setattr(launch, "_is_cpu_build", lambda: True)
        monkeypatch.setattr(launch, "free_memory", lambda: total // 2)
        for own in ([option, "0.7"], ["--kv_cache_memory_bytes=1G"]):
            assert command(folder, "scope@9", own)[-len(own) :] == own
            assert command(folder, "scope@9", own).count(option) == own.count(option)

    @pytest.mark.parametrize("spec", ["scope@0", "uniform_grid@0"])
    def test_a_spec_that_keeps_nothing(self, tmp_path: Path, spec: str) -> None:
        with pytest.raises(scope.SpecError, match="keeps no token of any image; vLLM needs at least one"):
            command(str(checkpoint(tmp_path)), spec)

    def test_two_servers_have_two_folders_of_counters(self, tmp_path: Path) -> None:
        folder = str(checkpoint(tmp_path))
        made = {json.loads(value(command(folder, "scope@9"), "--hf-overrides"))["visual_pruner_metrics"] for _ in "ab"}
        assert len(made) == 2

    def test_options_are_passed_on_and_overrides_are_merged(self, tmp_path: Path) -> None:
        theirs = ["--port", "1", "--hf-overrides", '{"rope_theta": 2}', "--dtype=float32"]
        words = command(str(checkpoint(tmp_path)), "scope@9", theirs)
        assert words[-3:] == ["--port", "1", "--dtype=float32"]
        assert words.count("--hf-overrides") == 1
        assert json.loads(value(words, "--hf-overrides"))["rope_theta"] == 2

    def test_a_spec_file_is_read_here(self, tmp_path: Path) -> None:
        file = tmp_path / "mine.yaml"
        file.write_text("recipe: scope\nbudget: 9\ncombiner: {name: product, alpha: 0.5}\n")
        words = command(str(checkpoint(tmp_path / "model")), str(file))
        written = json.loads(value(words, "--hf-overrides"))[OURS]
        assert written["recipe"] == "scope"
        assert written["combiner"]["alpha"] == 0.5
        assert scope.Pruner(written).spec == scope.Pruner(str(file)).spec

    @pytest.mark.parametrize(
        ("overrides", "wanted"),
        [
            ('{"architectures": ["Mine"]}', "holds architectures, which `scope serve` sets"),
            ('{"visual_pruner": "x", "a": 1}', "holds visual_pruner"),
            ("rope", "is not JSON"),
            ("[1]", "is not a table"),
        ],
    )
    def test_overrides_that_cannot_be_merged(self, tmp_path: Path, overrides: str, wanted: str) -> None:
        with pytest.raises(scope.SpecError, match="hf-overrides") as caught:
            command(str(checkpoint(tmp_path)), "scope@9", ["--hf-overrides", overrides])
        assert wanted in str(caught.value)

    def test_overrides_with_dots(self, tmp_path: Path) -> None:
        with pytest.raises(scope.SpecError, match=r"write '--hf-overrides\.a' as a table"):
            command(str(checkpoint(tmp_path)), "scope@9", ["--hf-overrides.a", "1"])

    @pytest.mark.parametrize(
        "options", [["--hf-override", "{}"], ["--hf_over={}"], ["--hf-o", "{}"], ["--model", "x"], ["--model=x"]]
    )
    def test_options_that_would_take_the_place_of_ours(self, tmp_path: Path, options: list[str]) -> None:
        """vLLM takes the last of several, short forms included: it would serve unpruned, or another model."""
        with pytest.raises(scope.SpecError, match=r"in full|is the first argument"):
            command(str(checkpoint(tmp_path)), "scope@9", ["--port", "1", *options])
        assert command(str(tmp_path), "scope@9", ["--model-impl", "vllm"])[-1] == "vllm"

    @pytest.mark.parametrize("spelling", ["--hf-overrides", "--hf_overrides"])
    def test_options_in_both_spellings(self, spelling: str) -> None:
        assert user_overrides_in([spelling, '{"a": 1}', "--x"]) == ({"a": 1}, ["--x"])
        assert user_overrides_in(["--y", spelling + '={"a": 1}', "z"]) == ({"a": 1}, ["--y", "z"])
        assert given(["--revision", "main"], "--revision") == "main"
        assert given(["--revision=main"], "--revision") == "main"
        assert given(["--port", "1"], "--revision") is None


CLIP = {
    "model_type": "clip_vision_model", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
    "image_size": 28, "patch_size": 7,
}  # fmt: skip


OTHERS = (
    "aya_vision", "bert", "clip", "deepseek_vl_v2", "gemma3", "idefics3", "minicpmv", "mistral3", "mllama", "molmo",
    "paligemma", "phi3_v", "pixtral", "qwen2_5_omni", "qwen3_vl_moe", "smolvlm",
)  # fmt: skip
"""Types of models that vLLM, or transformers, serves and pruning does not."""


class TestOddConfigs:
    """Whatever a checkpoint's config.json holds, it is refused in words before an engine starts."""

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "null", "5", '"x"', "{}", '{"model_type": null}', "[" * 99999, "\ufeff{}"]
    )
    def test_no_config(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(scope.ZooError, match=r"the config of '.*' cannot be read; give a folder"):
            command(str(tmp_path), "scope@9")

    @pytest.mark.parametrize("kind", [*OTHERS, "wombat", "LLAVA", 5, ["llava"], {}])
    def test_another_type(self, tmp_path: Path, kind: object, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody is asked whether to run a checkpoint's own code, and none of it runs."""
        monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
        own = {"AutoConfig": "configuration.Own", "AutoModel": "modeling.Own"}
        (tmp_path / "configuration.py").write_text("raise SystemExit('ran')")
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "auto_map": own}))
        with pytest.raises(scope.AdapterError, match=r"is a model of type .* pruning supports llava, llava_next"):
            command(str(tmp_path), "scope@9")

    def test_another_tower(self, tmp_path: Path) -> None:
        """Pixtral, as it was converted: its type is that of LLaVA."""
        config = {"model_type": "llava", "vision_config": {"model_type": "pixtral"}, "vision_feature_layer": -1}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(scope.AdapterError, match="vision towers of type 'pixtral' cannot be served with pruning"):
            command(str(tmp_path), "scope@9")

    @pytest.mark.parametrize(
        "changes",
        [
            {"vision_config": "clip"}, {"vision_config": {"model_type": "wombat"}}, {"vision_feature_layer": "x"},
            {"text_config": {"model_type": "wombat"}}, {"quantization_config": "awq"}, {"vision_feature_layer": 99},
            {"vision_config": {**CLIP, "patch_size": 0}}, {"vision_config": {**CLIP, "num_attention_heads": 0}},
            {"vision_config": {**CLIP, "image_size": "big"}}, {"vision_feature_layer": -99},
            {"model_type": "llava_next", "image_grid_pinpoints": []},
            {"model_type": "llava_next", "image_grid_pinpoints": [[1]]},
            {"model_type": "llava_onevision", "vision_aspect_ratio": "pad"},
            {"model_type": "qwen2_vl", "vision_config": {"spatial_merge_size": 0}},
            {"model_type": "internvl", "downsample_ratio": 0.3},
        ],
    )  # fmt: skip
    def test_a_model_that_is_none(self, tmp_path: Path, changes: dict[str, object]) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava", **changes}))
        texts = (
            "config of '.*'",
            "vision_feature_layer is (-?99, but the|'x'; give)",
            "num_attention_heads of the vision",
        )
        with pytest.raises(scope.ScopeError, match="|".join(texts)):
            command(str(tmp_path), "random@9")


class TestChatTemplate:
    @pytest.mark.parametrize(("text", "name"), [(LlamaConfig, "vicuna"), (MistralConfig, "mistral")])
    def test_ours_where_the_checkpoint_has_none(self, tmp_path: Path, text: type, name: str) -> None:
        template = Path(value(command(str(checkpoint(tmp_path, text=text)), "scope@9"), "--chat-template"))
        assert template.name == f"{name}.jinja"
        assert "<image>" in template.read_text("utf-8")

    @pytest.mark.parametrize("file", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])
    def test_the_checkpoints_own(self, tmp_path: Path, file: str) -> None:
        folder = checkpoint(tmp_path)
        (folder / file).write_text('{"chat_template": "x"}')
        assert "--chat-template" not in command(str(folder), "scope@9")

    def test_the_users_own(self, tmp_path: Path) -> None:
        words = command(str(checkpoint(tmp_path)), "scope@9", ["--chat-template", "mine.jinja"])
        assert words.count("--chat-template") == 1
        assert value(words, "--chat-template") == "mine.jinja"

    def test_none_for_this_language_model(self, tmp_path: Path) -> None:
        with pytest.raises(scope.AdapterError, match="language models of type 'qwen2'; write one") as caught:
            command(str(checkpoint(tmp_path, text=Qwen2Config)), "scope@9")
        assert "-- --chat-template FILE" in str(caught.value)

    def test_what_they_write(self) -> None:
        from transformers.utils.chat_template_utils import _compile_jinja_template

        home = Path(metrics.__file__).parent / "templates"
        chat = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A cup."}]},
            {"role": "user", "content": "Where?"},
        ]

        def written(name: str, messages: list) -> str:
            template = _compile_jinja_template((home / f"{name}.jinja").read_text("utf-8"))
            return template.render(messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True)

        assert written("vicuna", chat) == (
            "<s>Be brief. USER: <image>\nWhat? ASSISTANT: A cup.</s>USER: Where? ASSISTANT:"
        )
        assert written("mistral", chat[1:]) == "<s>[INST] <image>\nWhat? [/INST] A cup.</s>[INST] Where? [/INST]"


class TestRefused:
    @pytest.mark.parametrize(
        ("spec", "wanted"),
        [
            ("scop@9", "did you mean 'scope'?"),
            ("fastv@9", "cannot be served by vLLM"),
            ("mmtok@9", "vLLM encodes an image apart from its prompt"),
            ("scope@17", "has 16 tokens"),
        ],
    )
    def test_specs(self, tmp_path: Path, scope_: Callable[..., Ran], spec: str, wanted: str) -> None:
        ran = scope_("serve", checkpoint(tmp_path), "--spec", spec, "--print")
        assert (ran.code, ran.stdout) == (3, "")
        assert wanted in ran.stderr

    def test_towers(self, tmp_path: Path, scope_: Callable[..., Ran]) -> None:
        ran = scope_("serve", checkpoint(tmp_path, tower=SiglipVisionConfig), "--spec", "scope@9", "--print")
        assert ran.code == 3
        assert "needs vision.cls_attention[-2]" in ran.stderr  # a SigLIP tower has no CLS token
        config = json.loads((tmp_path / "config.json").read_text())
        config["vision_config"]["model_type"] = "pixtral"
        (tmp_path / "config.json").write_text(json.dumps(config))
        ran = scope_("serve", tmp_path, "--spec", "scope@9", "--print")
        assert ran.code == 3
        assert "vision towers of type 'pixtral' cannot be served" in ran.stderr

    def test_models(self, tmp_path: Path, scope_: Callable[..., Ran]) -> None:
        LlamaConfig().save_pretrained(tmp_path)
        ran = scope_("serve", tmp_path, "--spec", "scope@9", "--print")
        assert ran.code == 3
        assert "is a model of type 'llama'; with vLLM, pruning supports llava, llava_next" in ran.stderr

    def test_no_checkpoint(self, tmp_path: Path, scope_: Callable[..., Ran]) -> None:
        ran = scope_("serve", tmp_path, "--spec", "scope@9", "--print")
        assert ran.code == 4
        assert "cannot be read; give a folder with a checkpoint, or a hub id" in ran.stderr

    def test_a_plugin_file(self, tmp_path: Path, scope_: Callable[..., Ran]) -> None:
        file = tmp_path / "mine.py"
        file.write_text("import scope_core\n")
        ran = scope_("--plugin", file, "serve", checkpoint(tmp_path / "model"), "--spec", "scope@9", "--print")
        assert ran.code == 3
        assert "the server's processes load installed plugins only" in ran.stderr

    def test_without_vllm(self, tmp_path: Path, scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        for model in (checkpoint(tmp_path / "model"), "acme/on-the-hub"):  # said before the hub is waited for
            ran = scope_("serve", model, "--spec", "scope@9")
            assert ran.code == 3
            assert "pip install 'scope-core[vllm]'" in ran.stderr


def test_print_shows_the_command_and_runs_nothing(tmp_path: Path, scope_: Callable[..., Ran]) -> None:
    ran = scope_("serve", checkpoint(tmp_path), "--spec", "scope@9", "--print", "--", "--port", "1", "--name", "a b")
    assert ran.code == 0
    words = shlex.split(ran.stdout)
    assert words[-4:] == ["--port", "1", "--name", "a b"]
    assert words[:3] == [sys.executable, "-m", "scope_adapters.serving.server"]


def test_the_server_takes_this_process(
    tmp_path: Path, scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    became = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("os.execv", lambda path, words: became.append((path, words)))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        options = "--host", "127.0.0.1", "--port", listener.getsockname()[1]
        listener.listen()
        ran = scope_("serve", "a model that is not looked for", "--spec", "scope@9", "--", *options)
    assert (ran.code, became) == (4, [])
    assert "Address already in use; give another --port" in ran.stderr
    scope_("serve", checkpoint(tmp_path), "--spec", "scope@9", "--", *options)
    ((path, words),) = became
    assert path == words[0] == sys.executable
