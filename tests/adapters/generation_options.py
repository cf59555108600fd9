"""Everything of the installed ``generate`` that could count, read or show the prompt, and an example of each.

A name that a release adds is in none of these tables, and `test_generation_options` fails until somebody has decided:
counts or reads the prompt (an example, run against the reference), does not (a reason), or is refused (a value).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.generation import candidate_generator, logits_process, stopping_criteria, streamers

from adapters.models import VOCABULARY, Batch

EOS = 7
SAMPLED = {"do_sample": True}
BEAMS = {"num_beams": 2}


class Refused(dict[str, Any]):
    """Options that a call with images refuses."""


class Loads(dict[str, Any]):
    """Options whose decoding method comes from the hub where the release does not have it; with a cache only."""


def tokenizer() -> Any:
    """A tokenizer whose token 45 is written "<45>". Stop strings need a word that is no token's: "abcdef"."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(
        models.WordLevel({**{f"<{n}>": n for n in range(VOCABULARY)}, "abcdef": VOCABULARY}, unk_token="<0>")
    )
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<0>")


def _watermark(_given: Batch) -> dict[str, Any]:
    from transformers import WatermarkingConfig

    return {"watermarking_config": WatermarkingConfig(bias=8.0, context_width=4)}


def _stop(given: Batch) -> dict[str, Any]:
    ends = [f"<{last}><{n}>" for last in set(given.ids[:, -1].tolist()) for n in range(VOCABULARY)]
    return {"stop_strings": ends, "tokenizer": tokenizer()}  # from the prompt's last token on


FIELDS: dict[str, dict[str, Any] | Callable[[Batch], dict[str, Any]] | str] = {
    # lengths
    "max_length": lambda given: {"max_length": given.length + 4, "max_new_tokens": None},
    "max_new_tokens": {"max_new_tokens": 4},
    "min_length": lambda given: {"min_length": given.length + 4, "eos_token_id": [EOS, *range(100)]},
    "min_new_tokens": {"min_new_tokens": 4, "eos_token_id": [EOS, *range(100)]},
    "exponential_decay_length_penalty": {"exponential_decay_length_penalty": (2, 3.0), "eos_token_id": EOS},
    "forced_eos_token_id": {"forced_eos_token_id": EOS, "eos_token_id": EOS},
    "eos_token_id": {"eos_token_id": list(range(100))},
    "stop_strings": _stop,
    "max_time": {"max_time": 1e-9},
    # what the prompt holds
    "repetition_penalty": {"repetition_penalty": 5.0},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 1},
    "encoder_repetition_penalty": {"encoder_repetition_penalty": 5.0},
    "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 1},
    "sequence_bias": lambda given: {"sequence_bias": {(int(given.ids[0, -1]), 20): 50.0, (21,): 2.0}},
    "bad_words_ids": lambda given: {"bad_words_ids": [[int(given.ids[0, -1]), n] for n in range(100)]},
    "begin_suppress_tokens": {"begin_suppress_tokens": list(range(10, 100))},
    "forced_bos_token_id": {"forced_bos_token_id": 30},
    "suppress_tokens": {"suppress_tokens": list(range(100))},
    "watermarking_config": _watermark,
    "guidance_scale": {"guidance_scale": 2.0},
    # beams and several sequences
    "num_beams": BEAMS,
    "num_return_sequences": {**BEAMS, "num_return_sequences": 2},
    "early_stopping": {**BEAMS, "early_stopping": True, "eos_token_id": list(range(100))},
    "length_penalty": {**BEAMS, "length_penalty": 2.0, "eos_token_id": list(range(100))},
    "low_memory": {**BEAMS, "low_memory": True},
    "num_beam_groups": Loads(num_beams=4, num_beam_groups=2, diversity_penalty=0.5),
    "diversity_penalty": Loads(num_beams=4, num_beam_groups=2, diversity_penalty=5.0),
    "constraints": "objects for `force_words_ids`, which is tested",
    "force_words_ids": Loads(num_beams=2, force_words_ids=[[33, 34]]),
    # sampling
    "do_sample": SAMPLED,
    "temperature": {**SAMPLED, "temperature": 0.5},
    "top_k": {**SAMPLED, "top_k": 2},
    "top_p": {**SAMPLED, "top_p": 0.5},
    "top_h": {**SAMPLED, "top_h": 0.5},
    "min_p": {**SAMPLED, "min_p": 0.5},
    "typical_p": {**SAMPLED, "typical_p": 0.5},
    "epsilon_cutoff": {**SAMPLED, "epsilon_cutoff": 0.01},
    "eta_cutoff": {**SAMPLED, "eta_cutoff": 0.01},
    "renormalize_logits": {"renormalize_logits": True},
    "remove_invalid_values": {"remove_invalid_values": True},
    # other ways to decode
    "penalty_alpha": Loads(penalty_alpha=0.6, top_k=3),
    "dola_layers": Loads(dola_layers="low"),
    "prompt_lookup_num_tokens": "saves work only: `test_llava_generate` has it, and refusals inside the decoder",
    "max_matching_ngram_size": "an option of `prompt_lookup_num_tokens`",
    "assistant_early_exit": Refused(assistant_early_exit=1),
    "use_mtp": Refused(use_mtp=True),
    "speculation_type": Refused(speculation_type="dflash"),
    "token_healing": Refused(token_healing=True),
    **dict.fromkeys(
        (
            "assistant_confidence_threshold",
            "assistant_ensemble_weight",
            "assistant_lookbehind",
            "is_assistant",
            "num_assistant_tokens",
            "num_assistant_tokens_schedule",
            "target_lookbehind",
        ),
        "read only with an assistant, and assistants are refused",
    ),
    # caches
    "use_cache": {"use_cache": False},
    "cache_implementation": Refused(cache_implementation="paged"),
    "prefill_chunk_size": "`test_llava_generate` has it: saves work, or is refused where prompts must be whole",
    **dict.fromkeys(("cache_config", "max_cache_len"), "options of `cache_implementation`; sizes of caches"),
    "return_legacy_cache": "the form of the cache in the output",
    "continuous_batching_config": "read only for paged caches, which are refused",
    **dict.fromkeys(("compile_config", "disable_compile"), "how the forward pass runs"),
    # outputs
    "return_dict_in_generate": {"return_dict_in_generate": True},
    "output_scores": {"return_dict_in_generate": True, "output_scores": True},
    "output_logits": {"return_dict_in_generate": True, "output_logits": True},
    **dict.fromkeys(
        ("output_attentions", "output_hidden_states"), "along the shortened prompt: `test_prompt_positions` has them"
    ),
    # ids, and what only other models read
    **dict.fromkeys(("bos_token_id", "pad_token_id"), "an id; `test_llava_generate` has masks inferred from padding"),
    **dict.fromkeys(("decoder_start_token_id", "forced_decoder_ids"), "read by encoder-decoder models only"),
    "generation_kwargs": "free room for other models' arguments; generate does not read it",
}
"""Fields of ``GenerationConfig``: an example, or the reason why a field cannot matter to the prompt."""

ARGUMENTS: dict[str, dict[str, Any] | Callable[[Batch], dict[str, Any]] | str] = {
    **dict.fromkeys(("inputs", "generation_config", "kwargs"), "`test_llava_generate` gives ids and options by them"),
    "logits_processor": "PROCESSORS",
    "stopping_criteria": "CRITERIA",
    "streamer": "STREAMERS",
    "prefix_allowed_tokens_fn": lambda given: {
        "prefix_allowed_tokens_fn": lambda row, ids: [20 + row, 40 + len(ids) - given.length, int(ids[0]) + 60]
    },
    "synced_gpus": "keeps processes in step",
    "assistant_model": "`test_calls` has its refusal",
    "negative_prompt_ids": {"guidance_scale": 2.0, "negative_prompt_ids": torch.tensor([[1, 50, 51, 52]] * 3)},
    "negative_prompt_attention_mask": {
        "guidance_scale": 2.0,
        "negative_prompt_ids": torch.tensor([[0, 50, 51, 52]] * 3),
        "negative_prompt_attention_mask": torch.tensor([[0, 1, 1, 1]] * 3),
    },
    "use_model_defaults": "which defaults of the model's config are read",
    "custom_generate": Refused(custom_generate=lambda model, input_ids, **_: input_ids),
    "trust_remote_code": Refused(trust_remote_code=True),
}
"""Arguments of ``generate``."""

STEPS = {
    "self",
    "generation_config",
    "has_default_max_length",
    "has_default_min_length",
    "model_input_name",
    "input_ids_length",
    "inputs_tensor",
    "input_ids_seq_length",
    "encoder_input_ids",
    "prefix_allowed_tokens_fn",
    "logits_processor",
    "stopping_criteria",
    "tokenizer",
    "device",
    "model_kwargs",
    "negative_prompt_ids",
    "negative_prompt_attention_mask",
    "kwargs",
}
"""Arguments of the steps that the library wraps."""


def _first(given: Batch) -> list[int]:
    return list(range(10, 100)) + given.ids[:, -1].tolist()


def _whisper(given: Batch) -> Any:
    config = SimpleNamespace(
        no_timestamps_token_id=150,
        eos_token_id=EOS,
        bos_token_id=1,
        max_initial_timestamp_index=None,
        forced_decoder_ids=None,
        _detect_timestamp_from_logprob=True,
    )
    return logits_process.WhisperTimeStampLogitsProcessor(config, begin_index=given.length)


def _synthid(_given: Batch) -> Any:
    return logits_process.SynthIDTextWatermarkLogitsProcessor(
        ngram_len=5,
        keys=[3, 5, 7],
        sampling_table_size=64,
        sampling_table_seed=0,
        context_history_size=64,
        device="cpu",
    )


PROCESSORS: dict[str, Callable[[Any, Batch], Any] | str] = {
    "AlternatingCodebooksLogitsProcessor": lambda lp, given: lp(given.length, 100, 50),
    "BarkEosPrioritizerLogitsProcessor": lambda lp, given: lp(EOS, 0.001),
    "ClassifierFreeGuidanceLogitsProcessor": lambda lp, given: lp(2.0),
    "DiaClassifierFreeGuidanceLogitsProcessor": lambda lp, given: lp(2.0),
    "DiaEOSChannelFilterLogitsProcessor": lambda lp, given: lp(2, EOS),
    "DiaEOSDelayPatternLogitsProcessor": lambda lp, given: lp([0, 1], EOS, given.length + 8),
    "EncoderNoRepeatNGramLogitsProcessor": lambda lp, given: lp(1, given.ids),
    "EncoderRepetitionPenaltyLogitsProcessor": lambda lp, given: lp(5.0, given.ids),
    "EpsilonLogitsWarper": lambda lp, given: lp(0.01),
    "EtaLogitsWarper": lambda lp, given: lp(0.01),
    "ExponentialDecayLengthPenalty": lambda lp, given: lp((2, 3.0), EOS, given.length),
    "ForcedBOSTokenLogitsProcessor": lambda lp, given: lp(30),
    "ForcedEOSTokenLogitsProcessor": lambda lp, given: lp(given.length + 3, EOS),
    "HammingDiversityLogitsProcessor": "made by generate for groups of beams: `diversity_penalty` has it",
    "InfNanRemoveLogitsProcessor": lambda lp, given: lp(),
    "LogitNormalization": lambda lp, given: lp(),
    "LogitsProcessor": "the base class; `test_llava_generate` has processors of the caller's own",
    "MinLengthLogitsProcessor": lambda lp, given: lp(given.length + 3, list(range(100))),
    "MinNewTokensLengthLogitsProcessor": lambda lp, given: lp(given.length, 3, list(range(100))),
    "MinPLogitsWarper": lambda lp, given: lp(0.1),
    "NoBadWordsLogitsProcessor": lambda lp, given: lp([[int(given.ids[0, -1]), n] for n in range(100)]),
    "NoRepeatNGramLogitsProcessor": lambda lp, given: lp(1),
    "PrefixConstrainedLogitsProcessor": lambda lp, given: lp(
        lambda row, ids: [20 + row, 40 + len(ids) - given.length, int(ids[0]) + 60], 1
    ),
    "RepetitionPenaltyLogitsProcessor": lambda lp, given: (
        lp(5.0, prompt_ignore_length=given.length) if "prompt_ignore_length" in _parameters(lp) else lp(5.0)
    ),
    "SequenceBiasLogitsProcessor": lambda lp, given: lp({(int(given.ids[0, -1]), 20): 50.0, (21,): 2.0}),
    "SuppressTokensAtBeginLogitsProcessor": lambda lp, given: lp(_first(given), given.length),
    "SuppressTokensLogitsProcessor": lambda lp, given: lp(list(range(100))),
    "SynthIDTextWatermarkLogitsProcessor": lambda lp, given: _synthid(given),
    "TemperatureLogitsWarper": lambda lp, given: lp(0.5),
    "TopHLogitsWarper": lambda lp, given: lp(0.5),
    "TopKLogitsWarper": lambda lp, given: lp(5),
    "TopPLogitsWarper": lambda lp, given: lp(0.5),
    "TypicalLogitsWarper": lambda lp, given: lp(0.5),
    "UnbatchedClassifierFreeGuidanceLogitsProcessor": "needs the model: `guidance_scale` and `negative_prompt_ids`",
    "WatermarkLogitsProcessor": lambda lp, given: lp(VOCABULARY, "cpu", bias=8.0, context_width=4),
    "WhisperNoSpeechDetection": "needs Whisper's encoder",
    "WhisperTimeStampLogitsProcessor": lambda lp, given: _whisper(given),
}
"""Logits processors that the release ships, made for a caller's prompt."""

CRITERIA: dict[str, Callable[[Any, Batch], Any] | str] = {
    "ConfidenceCriteria": "of assistants, which are refused",
    "EosTokenCriteria": lambda sc, given: sc(torch.arange(VOCABULARY)),
    "MaxLengthCriteria": lambda sc, given: sc(given.length + 3),
    "MaxTimeCriteria": lambda sc, given: sc(1e-9),
    "StopStringCriteria": lambda sc, given: sc(tokenizer(), _stop(given)["stop_strings"]),
    "StoppingCriteria": "the base class; `test_llava_generate` has criteria of the caller's own",
}

STREAMERS: dict[str, str] = {
    "AsyncTextIteratorStreamer": "text",
    "BaseStreamer": "the base class; `test_llava_generate` has a streamer of the caller's own",
    "TextDiffusionStreamer": "text",
    "TextIteratorStreamer": "text",
    "TextStreamer": "text",
}

CANDIDATES = {
    "CandidateGenerator": "the base class",
    "PromptLookupCandidateGenerator": "`prompt_lookup_num_tokens`",
    **dict.fromkeys(
        (
            "AssistedCandidateGenerator",
            "AssistedCandidateGeneratorDifferentTokenizers",
            "UniversalSpeculativeDecodingGenerator",
            "SinglePositionMultiTokenCandidateGenerator",
        ),
        "refused: `assistant_model`",
    ),
    "EarlyExitCandidateGenerator": "refused: `assistant_early_exit`",
    "MTPCandidateGenerator": "refused: `use_mtp`",
    "DFlashTokenCandidateGenerator": "refused: `speculation_type`",
}


HOST_REFUSES = {
    "low_memory",  # of beams
    "negative_prompt_ids",  # with beams or several sequences
    "negative_prompt_attention_mask",
    "ClassifierFreeGuidanceLogitsProcessor",  # wants two rows for each prompt
    "DiaClassifierFreeGuidanceLogitsProcessor",
    "DiaEOSChannelFilterLogitsProcessor",  # wants rows for each channel
    "DiaEOSDelayPatternLogitsProcessor",
}
"""Examples that the host refuses with LLaVA, at least in some mode: pruned or not, the error is to be the same."""


def fields() -> set[str]:
    """The public fields of the installed ``GenerationConfig``."""
    config = GenerationConfig()
    names = set(config.to_dict()) | set(vars(config))
    return {name for name in names if not name.startswith("_")} - {"transformers_version"}


def classes(module: ModuleType, base: type) -> set[str]:
    """The names of ``base`` and the classes derived from it that a module defines."""
    return {
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
    }


INSTALLED: dict[str, tuple[set[str], Any]] = {
    "fields": (fields(), FIELDS),
    "processors": (classes(logits_process, logits_process.LogitsProcessor), PROCESSORS),
    "criteria": (classes(stopping_criteria, stopping_criteria.StoppingCriteria), CRITERIA),
    "streamers": (classes(streamers, streamers.BaseStreamer), STREAMERS),
    "candidates": (classes(candidate_generator, candidate_generator.CandidateGenerator), CANDIDATES),
}


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def examples(kind: str) -> list[str]:
    """The names of the installed release that have an example."""
    names, table = INSTALLED[kind] if kind in INSTALLED else (set(ARGUMENTS), ARGUMENTS)
    return sorted(name for name in names & set(table) if not isinstance(table[name], str | Refused | Loads))
