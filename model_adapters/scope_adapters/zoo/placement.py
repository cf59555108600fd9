"""How weights are loaded: dtype, devices, attention and quantisation, checked before anything is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from scope_core import MissingDependencyError, ZooError
from scope_core.adapters import quoted
from scope_core.commands import did_you_mean

QUANTIZED: Mapping[str, Mapping[str, Any]] = {
    "bnb-8bit": {"load_in_8bit": True},
    "bnb-4bit": {"load_in_4bit": True},
}
"""Names for configs of bitsandbytes; other methods are given as a config of transformers."""
_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
_BUILT_IN = ("sdpa", "eager")


def placed(
    source: str, *, dtype: Any = None, device_map: Any = None, attn_implementation: Any = None, quantization: Any = None
) -> dict[str, Any]:
    """Options for ``from_pretrained``, for those that are given.

    Args:
        source: Hub id or folder, for messages.
        dtype: ``"auto"`` (the checkpoint's own), a torch dtype, or its name.
        device_map: A device (``"cuda:0"``, "cpu"), ``"auto"`` or another strategy, or a table of modules.
        attn_implementation: ``"sdpa"``, ``"eager"``, ``"flash_attention_2"``, or another name that transformers knows.
        quantization: ``"bnb-8bit"``, ``"bnb-4bit"``, or a quantisation config of transformers (AWQ, GPTQ, ...). Weights
            that are quantised already need none: their config says so.

    Raises:
        ZooError: a value is not known, or cannot be used on this machine.
        MissingDependencyError: it needs a package that is not installed.
    """
    given = {
        "dtype": None if dtype is None else _dtype(source, dtype),
        "device_map": None if device_map is None else _device_map(source, device_map),
        "attn_implementation": None if attn_implementation is None else _attention(source, attn_implementation),
        "quantization_config": None if quantization is None else _quantization(source, quantization, device_map),
    }
    return {name: value for name, value in given.items() if value is not None}


def _dtype(source: str, dtype: Any) -> Any:
    if dtype == "auto" or isinstance(dtype, torch.dtype):
        return dtype
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else None
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        kinds = {name: kind for name, kind in vars(torch).items() if isinstance(kind, torch.dtype)}
        names = sorted(name for name, kind in kinds.items() if kind.is_floating_point)
        raise ZooError(
            f"'{source}': dtype {quoted(dtype)} is not a floating-point dtype{did_you_mean(str(dtype), names)}; give "
            f"auto, float32, bfloat16 or float16. For int8 and 4 bits, give quantization"
        )
    return found


def _device_map(source: str, device_map: Any) -> Any:
    if find_spec("accelerate") is None:
        raise MissingDependencyError(f"'{source}': device_map needs the package accelerate: pip install accelerate")
    if isinstance(device_map, Mapping | int) or device_map in _MAPS:
        return device_map
    try:
        device = torch.device(device_map)
    except (RuntimeError, TypeError) as error:
        raise ZooError(
            f"'{source}': device_map {quoted(device_map)} is neither a device, such as cpu or cuda:0, nor one of "
            f"{', '.join(_MAPS)}{did_you_mean(str(device_map), [*_MAPS, 'cpu', 'cuda'])}"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ZooError(
            f"'{source}': device_map {quoted(str(device_map))}: this machine has {torch.cuda.device_count()} CUDA "
            f"device(s) that torch can use"
        )
    return device_map


def _attention(source: str, name: Any) -> Any:
    if not isinstance(name, str) or "/" in name:  # a table by part of the model, or a kernel on the hub
        return name
    try:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        known = sorted({*_BUILT_IN, *ALL_ATTENTION_FUNCTIONS.valid_keys()})
    except (ImportError, AttributeError):
        return name  # this release cannot say; loading will
    if name not in known:
        raise ZooError(
            f"'{source}': there is no attention implementation {quoted(name)}{did_you_mean(name, known)}. transformers "
            f"knows: {', '.join(known)}"
        )
    if name == "flash_attention_2" and find_spec("flash_attn") is None and find_spec("kernels") is None:
        raise MissingDependencyError(
            f"'{source}': flash_attention_2 needs the package flash-attn, and a CUDA device; omit it, or give sdpa"
        )
    return name


def _quantization(source: str, given: Any, device_map: Any) -> Any:
    import transformers

    if isinstance(given, str):
        if given not in QUANTIZED:
            raise ZooError(
                f"'{source}': there is no quantization {quoted(given)}{did_you_mean(given, QUANTIZED)}. Names: "
                f"{', '.join(QUANTIZED)}; for others give a config, e.g. transformers.GPTQConfig(...), in Python. "
                f"Weights that are quantised already (AWQ, GPTQ) need none"
            )
        if find_spec("bitsandbytes") is None:
            raise MissingDependencyError(f"'{source}': {given} needs bitsandbytes: pip install bitsandbytes accelerate")
        given = transformers.BitsAndBytesConfig(**QUANTIZED[given])
    if not hasattr(given, "quant_method") and not (isinstance(given, Mapping) and "quant_method" in given):
        raise ZooError(
            f"'{source}': quantization is {quoted(given)}; give {', '.join(QUANTIZED)}, or a quantisation config of "
            f"transformers, such as transformers.BitsAndBytesConfig(load_in_4bit=True)"
        )
    try:
        from transformers.quantizers import AutoHfQuantizer

        quantizer = AutoHfQuantizer.from_config(given, pre_quantized=False)
        quantizer.validate_environment(device_map=device_map)
    except ImportError as error:
        raise MissingDependencyError(
            f"'{source}': this quantisation cannot be used: {' '.join(str(error).split())}"
        ) from error
    except (RuntimeError, ValueError) as error:
        raise ZooError(f"'{source}': this quantisation cannot be used: {' '.join(str(error).split())}") from error
    return given
