"""Refusals of tensors that selection cannot read: sparse, nested, quantised, without data, of other numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scope_core.errors import TokensError


def check_plain(name: str, tensor: Tensor) -> None:
    """Refuse anything but a dense tensor that holds data.

    Raises:
        TokensError: names the kind of tensor, and what makes it a plain one.
    """
    if tensor.is_nested:
        raise TokensError(
            f"{name} is a nested tensor; pad it with torch.nested.to_padded_tensor(), and mark padding in valid=..."
        )
    if tensor.is_meta:
        raise TokensError(
            f"{name} is on the device meta, which holds no numbers; `plan` needs none: give it token counts"
        )
    if tensor.layout != torch.strided:
        kind = str(tensor.layout).removeprefix("torch.").lstrip("_")
        raise TokensError(f"{name} is a tensor of layout {kind}; convert with .to_dense()")
    if tensor.is_quantized:
        raise TokensError(f"{name} is quantised ({tensor.dtype}); convert with .dequantize()")


def check_floating(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is not plain, or not of floating-point numbers.

    Raises:
        TokensError: names the dtype, and what converts it.
    """
    check_plain(name, tensor)
    if tensor.is_complex():
        raise TokensError(f"{name} must be floating point, not {tensor.dtype}; take the real part, or .abs()")
    if not tensor.is_floating_point():
        raise TokensError(f"{name} must be floating point, not {tensor.dtype}; convert with .float()")


def check_mask(name: str, tensor: Tensor) -> None:
    """Refuse a tensor that is not plain, or not of booleans or whole numbers.

    Raises:
        TokensError: names the dtype; masks that are added to scores hold 0 for what counts.
    """
    check_plain(name, tensor)
    if tensor.is_floating_point() or tensor.is_complex():
        raise TokensError(
            f"{name} must be bool, True for tokens that count, not {tensor.dtype}; convert with `{name} > 0`, or with "
            f"`{name} == 0` if it is a mask that is added to scores"
        )


def converted(name: str, tensor: Tensor, dtype: torch.dtype | None, valid: Tensor | None = None) -> Tensor:
    """``tensor`` in ``dtype``, or as it is; of shape (B, N) or (B, N, ...) if its ``valid`` tokens are given.

    Raises:
        TokensError: torch cannot convert it, or all its numbers are too small for ``dtype``; or without ``dtype``, it
            is of 8 bits or fewer, with which torch cannot compute.
    """
    if dtype is None:
        if tensor.element_size() < 2:
            raise TokensError(
                f"{name} is {tensor.dtype}, with which torch cannot compute; omit `dtype: as_is` from the spec, or "
                f"convert with .float()"
            )
        return tensor
    try:
        result = tensor.to(dtype)
    except (NotImplementedError, RuntimeError) as error:
        raise TokensError(
            f"{name} is {tensor.dtype}, which torch cannot convert to {str(dtype)[6:]}; give 16 bits or more"
        ) from error
    if torch.finfo(dtype).tiny > torch.finfo(tensor.dtype).tiny and tensor.numel():
        _check_kept(name, tensor, result, valid)
    return result


def _check_kept(name: str, tensor: Tensor, result: Tensor, valid: Tensor | None) -> None:
    """Refuse a conversion after which all numbers are 0 or have lost digits. Those too large become infinite."""
    if valid is not None:
        padding = ~valid if tensor.dim() == valid.dim() else ~valid[..., None]
        tensor, result = tensor.masked_fill(padding, 0), result.masked_fill(padding, 0)
    largest, left = float(tensor.abs().amax()), float(result.abs().amax())
    if largest > 0 and left < torch.finfo(result.dtype).tiny:
        dtype, wider = str(result.dtype)[6:], str(tensor.dtype)[6:]
        raise TokensError(
            f"{name} has numbers of at most {largest:.4g}, too small for {dtype}: set `dtype: {wider}` in the spec, or "
            f"scale them"
        )


def all_finite(tensor: Tensor) -> bool:
    """True if no number is NaN or infinite. Tests the sum first, which takes a tenth of the time of testing each."""
    tensor = tensor.detach()
    if math.isfinite(float(tensor.sum())):
        return True
    return bool(torch.isfinite(tensor).all())  # the sum of large finite numbers may overflow


def extremes(tensor: Tensor) -> tuple[float, float]:
    """The least and the largest number; NaN if any is. torch 2.1 has no such function for half precision."""
    tensor = tensor.detach()
    lowest, highest = (tensor if tensor.element_size() >= 4 else tensor.float()).aminmax()
    return float(lowest), float(highest)


def unit_rows(features: Tensor) -> Tensor:
    """(..., D) features scaled to length 1; zero vectors stay zero."""
    norm = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    if norm.numel() and within_range(norm):
        normed: Tensor = features / norm
        return normed
    # squares of very small or very large entries leave the dtype's range: scale those rows first
    out_of_range = (norm < _smallest(norm.dtype)) | torch.isinf(norm)
    if bool(out_of_range.any()):
        largest = features.abs().amax(-1, keepdim=True)
        features = torch.where(out_of_range & (largest > 0), features / largest, features)
        norm = torch.linalg.vector_norm(features, dim=-1, keepdim=True)
    unit: Tensor = features / norm.masked_fill(norm == 0, 1)
    return unit


def within_range(norm: Tensor) -> bool:
    """True if none of these lengths of vectors is so small or so large that its square leaves the dtype's range."""
    lowest, highest = extremes(norm)
    return _smallest(norm.dtype) <= lowest <= highest < math.inf


def _smallest(dtype: torch.dtype) -> float:
    smallest: float = torch.finfo(dtype).tiny ** 0.5
    return smallest
