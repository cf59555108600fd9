"""What the installed torch, Triton, timm, Pillow and transformers offer, found by trying, never by version number.

Each mark skips a test where what it needs is missing, and says what that is. The newest releases offer all of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from io import BytesIO

import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode


def _works(trial: Callable[[], object]) -> bool:
    try:
        trial()
    except (ImportError, RuntimeError, AssertionError, OSError, ValueError):
        return False
    return True


def _multiply_halves() -> None:
    halves = torch.ones(1, 2, 2, dtype=torch.float16)
    halves @ halves.mT


def _clamp_halves() -> None:
    torch.ones(1, dtype=torch.float16).clamp(min=0)


def _read_ycbcr_tiff() -> None:
    file = BytesIO()
    Image.new("YCbCr", (8, 6)).save(file, "tiff")
    Image.open(file).load()


def _pretend_cuda() -> None:
    with FakeTensorMode(allow_non_fake_inputs=True):
        torch.empty(1, device="cuda:0")


def _import_triton_backends() -> None:
    import triton.backends.nvidia
    import triton.runtime.interpreter  # noqa: F401


def _build_default_models() -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText

    with torch.device("meta"):
        for kind in ("idefics3", "qwen3_vl"):
            AutoModelForImageTextToText.from_config(AutoConfig.for_model(kind))


def _save_a_model() -> None:
    import tempfile

    from transformers import CLIPVisionConfig, CLIPVisionModel

    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    with tempfile.TemporaryDirectory() as folder:
        CLIPVisionModel(CLIPVisionConfig(**small)).save_pretrained(folder)


def _compile_a_model() -> None:
    from transformers import LlamaConfig, LlamaModel

    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaModel(LlamaConfig(**small, vocab_size=8)).eval()
    with torch.no_grad():
        torch.compile(model, backend="eager")(input_ids=torch.ones(1, 4, dtype=torch.long))
    torch._dynamo.reset()


def _trace_context_variables() -> None:
    asked: ContextVar[int] = ContextVar("asked", default=1)
    torch.compile(lambda tensor: tensor * asked.get(), backend="eager", fullgraph=True)(torch.ones(1))
    torch._dynamo.reset()


halves = _works(_multiply_halves) and _works(_clamp_halves)
"""Whether this torch computes in float16 on a CPU."""
half_products = pytest.mark.skipif(
    not _works(_multiply_halves), reason="this torch cannot multiply float16 matrices on a CPU"
)
half_clamp = pytest.mark.skipif(not _works(_clamp_halves), reason="this torch cannot clamp float16 on a CPU")
ycbcr_tiff = pytest.mark.skipif(
    not _works(_read_ycbcr_tiff), reason="this Pillow cannot read the YCbCr TIFF that it writes"
)
pretended_cuda = pytest.mark.skipif(
    not _works(_pretend_cuda), reason="this torch makes fake CUDA tensors only where there is a GPU"
)
triton_without_gpu = pytest.mark.skipif(
    not _works(_import_triton_backends),
    reason="no Triton that interprets kernels and compiles them for GPUs that are not there; "
    "torch's newer CUDA builds for Linux bring one",
)


saved_models = pytest.mark.skipif(
    not _works(_save_a_model),
    reason="this transformers cannot save a model beside a torch this old",
)
default_models = pytest.mark.skipif(
    not _works(_build_default_models),
    reason="this transformers has not every model, or cannot build some from their default configs",
)


@functools.cache
def compiled_models() -> pytest.MarkDecorator:
    """Skips a test where the installed transformers' models cannot be compiled at all by the installed torch."""
    able = _works(_compile_a_model)
    return pytest.mark.skipif(not able, reason="this torch cannot compile models of this transformers")


@functools.cache
def traced_context_variables() -> pytest.MarkDecorator:
    """Skips a test where the installed torch breaks graphs at context variables."""
    able = _works(_trace_context_variables)
    return pytest.mark.skipif(not able, reason="this torch breaks a graph where a context variable is read")


def timm_model(name: str) -> pytest.MarkDecorator:
    """Skips a test where the installed timm does not know a model."""
    import timm

    return pytest.mark.skipif(not timm.is_model(name), reason=f"this timm has no {name}")


def _call_with_encoder_outputs() -> None:
    from adapters.installed import beams_get_whole_groups
    from adapters.models import shared

    if not beams_get_whole_groups(shared("clip")):
        raise ImportError


encoder_outputs = pytest.mark.skipif(
    not _works(_call_with_encoder_outputs),
    reason="models of this transformers take no mm_encoder_outputs, or mix them up",
)


def transformers_class(name: str) -> pytest.MarkDecorator:
    """Skips a test where the installed transformers has no class of that name."""
    import transformers

    return pytest.mark.skipif(not hasattr(transformers, name), reason=f"this transformers has no {name}")
