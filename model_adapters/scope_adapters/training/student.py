"""Projector and decoder in training: modules of transformers, run by a leaner forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu, linear, scaled_dot_product_attention, silu

from scope_adapters.training.prompts import Packed
from scope_adapters.training.settings import TOKENS, WIDTH, Settings
from scope_adapters.training.vocabulary import BOS, EOS, IMAGE, PAD


def text_config(settings: Settings, vocabulary: int) -> Any:
    """``LlamaConfig`` of the decoder."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=settings.width,
        intermediate_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=2048,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        tie_word_embeddings=True,
    )


def llava_config(settings: Settings, vocabulary: int, vision: Any) -> Any:
    """``LlavaConfig`` of the whole model around a vision config."""
    from transformers import LlavaConfig

    return LlavaConfig(
        vision_config=vision,
        text_config=text_config(settings, vocabulary),
        image_token_index=IMAGE,
        image_seq_length=TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


class Student:
    """The trained modules.

    In training, features are normalised with ``mean`` and ``std``; `exported_projector` merges that into the
    projector's first layer, so that the exported model is a plain LLaVA.

    Args:
        settings: Settings of the run.
        vocabulary: Number of words.
    """

    def __init__(self, settings: Settings, vocabulary: int) -> None:
        from transformers import LlamaForCausalLM

        self.settings = settings
        self.products = torch.bfloat16 if settings.half else torch.float32
        self.decoder = LlamaForCausalLM(text_config(settings, vocabulary))
        self.words = self.decoder.model.embed_tokens.weight
        # Unit length on average: with longer embeddings, the stage after alignment fails.
        nn.init.normal_(self.words, std=settings.width**-0.5)
        self.first, self.second = nn.Linear(WIDTH, settings.width), nn.Linear(settings.width, settings.width)
        self.mean, self.std = torch.zeros(WIDTH), torch.ones(WIDTH)
        self.none = nn.Parameter(torch.randn(settings.width) * settings.width**-0.5)
        self.inverse = 10000.0 ** (
            -torch.arange(0, settings.width // settings.heads, 2) * settings.heads / settings.width
        )

    def aligned(self) -> list[Any]:
        """The parameters of the first stage: the projector and the embedding of "no class"."""
        return [*self.first.parameters(), *self.second.parameters(), self.none]

    def decoding(self) -> list[Any]:
        """The decoder's parameters without the embeddings."""
        return [p for p in self.decoder.parameters() if p is not self.words]

    def shared(self) -> list[Any]:
        """The parameters of projector and embeddings."""
        return [*self.first.parameters(), *self.second.parameters(), self.words]

    def normalise(self, sample: Any) -> None:
        """Set mean and standard deviation of the features from ``sample`` (n, TOKENS, WIDTH)."""
        import numpy as np

        values = np.asarray(sample, np.float32)
        self.mean, self.std = (torch.from_numpy(f(values, axis=(0, 1))) for f in (np.mean, np.std))

    def state(self) -> dict[str, Any]:
        """The weights, for `load`."""
        parts = {"decoder": self.decoder, "first": self.first, "second": self.second}
        tensors = {"none": self.none.detach(), "mean": self.mean, "std": self.std}
        return {**{name: part.state_dict() for name, part in parts.items()}, **tensors}

    def load(self, state: dict[str, Any]) -> None:
        """Load the result of `state`."""
        for name in ("decoder", "first", "second"):
            getattr(self, name).load_state_dict(state[name])
        self.none.data.copy_(state["none"])
        self.mean, self.std = state["mean"], state["std"]

    def project(self, features: Tensor) -> Tensor:
        """(..., width) visual tokens from (..., WIDTH) features."""
        projected: Tensor = self.second(gelu(self.first((features - self.mean) / self.std)))
        return projected

    def forward(self, features: Tensor, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, T, width) states of packed questions about K visual tokens.

        The same as ``LlamaForCausalLM`` on ``<s>``, the visual tokens and one question (a test compares them), with
        weights and products in bfloat16, unless ``half`` is off, and sums in float32.

        Args:
            features: (B, K, WIDTH).
            ids: (B, T), see `prompts.Packed`.
            positions: (B, T).
            mask: (B, 1, T, 1 + K + T), see `full_mask`.
        """
        half, model = self.products, self.decoder.model
        heads, prefix = self.settings.heads, features.shape[1] + 1
        x = ((features - self.mean) / self.std).to(half)
        x = gelu(linear(x, self.first.weight.to(half), self.first.bias.to(half)))
        visual = linear(x, self.second.weight.to(half), self.second.bias.to(half)).float()
        h = torch.cat([self.words[BOS].expand(len(x), 1, -1), visual, embedding(ids, self.words)], 1)
        at = torch.cat([torch.arange(prefix).expand(len(x), prefix), positions + prefix], 1).float()
        angle = (at[..., None] * self.inverse)[:, None]
        cos, sin = angle.cos().to(half), angle.sin().to(half)
        for layer in model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            y = self._norm(h, layer.input_layernorm.weight)
            weights = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]).to(half)
            qkv = linear(y, weights).view(*y.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
            q, k, v = _rotated(qkv[0], cos, sin), _rotated(qkv[1], cos, sin), qkv[2]
            # Image rows attend only to the image: they need no mask, and are computed once for all questions.
            image = scaled_dot_product_attention(q[:, :, :prefix], k[:, :, :prefix], v[:, :, :prefix], is_causal=True)
            text = scaled_dot_product_attention(q[:, :, prefix:], k, v, attn_mask=mask.to(half))
            out = torch.cat([image, text], 2).transpose(1, 2).flatten(2)
            h = h + linear(out, attention.o_proj.weight.to(half))
            y = self._norm(h, layer.post_attention_layernorm.weight)
            gate = silu(linear(y, mlp.gate_proj.weight.to(half)))
            h = h + linear(gate * linear(y, mlp.up_proj.weight.to(half)), mlp.down_proj.weight.to(half))
        return self._norm(h[:, prefix:], model.norm.weight)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.decoder.config.rms_norm_eps)
        return (x * scale * weight).to(self.products)

    def exported_projector(self) -> dict[str, Tensor]:
        """The projector's weights by LLaVA's names, merged with the normalisation of the features."""
        weight = self.first.weight.detach() / self.std
        return {
            "linear_1.weight": weight,
            "linear_1.bias": self.first.bias.detach() - weight @ self.mean,
            "linear_2.weight": self.second.weight.detach(),
            "linear_2.bias": self.second.bias.detach(),
        }


def full_mask(packed: Packed, keep: int) -> Tensor:
    """(B, 1, T, 1 + keep + T) additive mask: every question attends to the whole image and to itself."""
    rows, length = packed.ids.shape
    mask = torch.zeros(rows, 1, length, 1 + keep + length, dtype=torch.bfloat16)
    mask[..., 1 + keep :].masked_fill_(~packed.mask[:, None], float("-inf"))
    return mask


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
