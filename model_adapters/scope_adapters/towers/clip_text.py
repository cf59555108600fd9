"""Signals in CLIP's shared space: the similarity of each patch to the question, and the patches themselves.

LLaVA's tower is CLIP's vision half alone, so you have to supply the text half::

    relevance = ClipTextSimilarity(CLIPModel.from_pretrained(name), CLIPTokenizerFast.from_pretrained(name), questions)
    with scope.Pruner("cdpruner@64").attach(model, signals={"clip.text_similarity": relevance}):
        model.generate(**inputs)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_core import AttachError, VisualTokens


class ClipTextSimilarity:
    """The signal ``clip.text_similarity``: cosine of each chunk of the question to each patch, in CLIP's shared space.

    Patches are ``visual_projection(post_layernorm(hidden state of layer))``; texts longer than CLIP's context are cut
    into chunks of that length. CDPruner, NeurIPS 2025, arXiv 2506.10967.

    Args:
        clip: A transformers ``CLIPModel`` whose vision half is the model's tower.
        tokenizer: CLIP's tokenizer.
        questions: ``inputs -> texts``, the question about each image of a call, in placeholder order; or the language
            model's tokenizer, to take the whole prompt of each image as its question.
        layer: Hidden states of the tower that are projected, counted as in ``hidden_states``.

    Attributes:
        needs: The signal of the model's tower that is read.
    """

    def __init__(self, clip: Any, tokenizer: Any, questions: Any, *, layer: int = -2) -> None:
        self.clip, self.tokenizer, self.questions, self.layer = clip, tokenizer, questions, layer
        self.needs = frozenset({f"vision.hidden[{layer}]"})

    def __call__(self, inputs: Mapping[str, Any], tokens: VisualTokens) -> Tensor:
        """(images, T, N) in [-1, 1]; images whose question has fewer chunks are padded with rows of zeros.

        Raises:
            AttachError: the number of questions is not that of images, or the tower is not this CLIP's.
        """
        ask: Callable[[Mapping[str, Any]], Sequence[str]] = (
            self.questions if callable(self.questions) and not hasattr(self.questions, "decode") else self._prompts
        )
        texts, hidden = list(ask(inputs)), tokens.signal(next(iter(self.needs)))
        if len(texts) != len(hidden):
            raise AttachError(f"{len(texts)} questions were given for {len(hidden)} images; give one for each image")
        patches = _in_shared_space(self.clip, hidden)
        with torch.no_grad():
            chunks = [torch.nn.functional.normalize(self._embedded(text), dim=-1) for text in texts]
            cosines: Tensor = pad_sequence(chunks, batch_first=True).to(patches) @ patches.transpose(1, 2)
        return cosines.float() if tokens.features.element_size() < 4 else cosines.to(tokens.features.dtype)

    def _embedded(self, text: str) -> Tensor:
        """(T, C) one row per chunk of CLIP's context length."""
        longest = int(self.clip.config.text_config.max_position_embeddings)
        given = self.tokenizer(text, return_tensors="pt")
        count = given["input_ids"].shape[1]
        rows = -(-count // longest)
        cut = {
            name: torch.nn.functional.pad(given[name], (0, rows * longest - count)).view(rows, longest)
            for name in ("input_ids", "attention_mask")
        }
        device = self.clip.text_projection.weight.device
        pooled = self.clip.text_model(**{name: ids.to(device) for name, ids in cut.items()}).pooler_output
        embedded: Tensor = self.clip.text_projection(pooled)
        return embedded

    def _prompts(self, inputs: Mapping[str, Any]) -> list[str]:
        """The prompt of each image as text, without special tokens."""
        ids = inputs["input_ids"]
        return [self.questions.decode(ids[row][ids[row] >= 0], skip_special_tokens=True) for row in inputs["prompts"]]


class ClipEmbeddings:
    """The signal ``clip.embeddings``: each patch in CLIP's shared space, of length 1.

    ``visual_projection(post_layernorm(hidden state of layer))``, as AnchorPrune's release compares anchors.

    Args:
        clip: A transformers ``CLIPModel`` whose vision half is the model's tower.
        layer: Hidden states of the tower that are projected, counted as in ``hidden_states``.

    Attributes:
        needs: The signal of the model's tower that is read.
    """

    def __init__(self, clip: Any, *, layer: int = -2) -> None:
        self.clip, self.layer = clip, layer
        self.needs = frozenset({f"vision.hidden[{layer}]"})

    def __call__(self, inputs: Mapping[str, Any], tokens: VisualTokens) -> Tensor:
        """(images, N, C).

        Raises:
            AttachError: the tower is not this CLIP's.
        """
        return _in_shared_space(self.clip, tokens.signal(next(iter(self.needs)))).to(tokens.features.dtype)


def _in_shared_space(clip: Any, hidden: Tensor) -> Tensor:
    """(B, N, C) patches in the space of CLIP's texts, of length 1, in the dtype of CLIP's weights."""
    norm, projection = clip.vision_model.post_layernorm, clip.visual_projection
    if hidden.shape[-1] != projection.in_features:
        raise AttachError(
            f"the model's tower has width {hidden.shape[-1]}, but the given CLIP model {projection.in_features}; "
            f"load the CLIP model that the tower comes from"
        )
    with torch.no_grad():
        return torch.nn.functional.normalize(projection(norm(hidden.to(projection.weight))), dim=-1)
