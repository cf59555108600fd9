"""The word-level tokenizer of a small model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
PAD, BOS, EOS, UNK, IMAGE = range(len(SPECIAL))
UNKNOWN = "unknown"
"""The answer to questions with words that are not in the vocabulary."""

WORD = r"[\p{L}\p{N}]+(?:-\p{L}+)*|\p{So}"
"""Words (also with hyphens) and pictographs; everything else separates them."""


def tokenizer(labels: Sequence[str], texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole lower-case words; plurals of labels become the label.

    It begins every text with ``<s>`` and reads unknown words as ``<unk>``.

    Args:
        labels: Classes of objects. They get the first ids after `SPECIAL`, in this order.
        texts: Questions and answers; all their words are in the vocabulary.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    normal: list[Any] = [normalizers.NFC(), normalizers.Lowercase()]
    for label in labels:
        others = "|".join(form for form in plurals(label) if form not in labels)
        normal.append(normalizers.Replace(Regex(rf"\b(?:{others})\b"), label))
    splitter = pre_tokenizers.Split(Regex(WORD), behavior="removed", invert=True)
    normalizer = normalizers.Sequence(normal)
    found = {w for text in set(texts) for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    words = [*SPECIAL, *labels, *sorted(found - set(labels) | {UNKNOWN} - set(labels))]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=SPECIAL[UNK]))
    inner.normalizer, inner.pre_tokenizer = normalizer, splitter
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=SPECIAL[PAD],
        bos_token=SPECIAL[BOS],
        eos_token=SPECIAL[EOS],
        unk_token=SPECIAL[UNK],
        additional_special_tokens=[SPECIAL[IMAGE]],
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def plurals(label: str) -> list[str]:
    """Possible plurals of ``label``."""
    forms = [f"{label}s", f"{label}es"]
    if label.endswith("y"):
        forms.append(f"{label[:-1]}ies")
    if label.endswith("us"):
        forms.append(f"{label[:-2]}i")
    return forms
