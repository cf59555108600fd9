"""From a checkpoint and a spec to the command that starts vLLM's OpenAI-compatible server with pruning.

Needs no vLLM: what cannot be served is refused before anything is started.
"""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scope_adapters.serving import metrics
from scope_adapters.serving.register import ARCHITECTURES
from scope_adapters.serving.served import KEY, Served, written
from scope_adapters.zoo.asking import asking
from scope_core import AdapterError, MissingDependencyError, Pruner, Registry, SpecError, ZooError

SERVER = "vllm.entrypoints.openai.api_server"
"""The module to run. ``vllm serve`` does the same, but asks for the version of a package called vllm, which the build
for CPUs is not."""

TEMPLATES = {"llama": "vicuna", "mistral": "mistral"}
"""The chat template for each type of language model, where the checkpoint has none."""

_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")


def command(
    model: str, spec: str, options: Sequence[str] = (), *, per_request: bool = False, registry: Registry | None = None
) -> list[str]:
    """The command, word by word.

    Args:
        model: A folder or a hub id.
        spec: As users write it; a file is read here, so that the server's other machines need not have it.
        options: vLLM's own, passed on; ``--hf-overrides`` is merged with ours.
        per_request: Let requests ask for budgets (and any other option of the image processor).
        registry: Where parts are looked up; everything installed if None.

    Raises:
        AdapterError: models of this type are not served.
        SpecError: the spec is wrong, or this model cannot be served with it.
        ZooError: the model's configuration cannot be read.
        MissingDependencyError: transformers is not installed.
    """
    revision = given(options, "--revision")
    config = configuration(model, revision)
    overrides = ours(config, model, spec, registry)
    theirs, rest = taken(options)
    if clash := sorted(set(overrides) & set(theirs)):
        raise SpecError(
            f"--hf-overrides holds {', '.join(clash)}, which `scope serve` sets; say it with --spec, or use vLLM's "
            f"own command, which `scope serve --print` shows"
        )
    words = [sys.executable, "-m", SERVER, "--model", model, "--hf-overrides", json.dumps({**theirs, **overrides})]
    if per_request:
        words.append("--trust-request-mm-kwargs")
    if given(options, "--chat-template") is None and not has_template(model, revision):
        words += ["--chat-template", str(template_for(config, model))]
    return [*words, *rest]


def ours(config: Any, model: str, spec: str, registry: Registry | None = None) -> dict[str, Any]:
    """What the engine is told beside the checkpoint's own configuration.

    Raises:
        AdapterError: models of this type are not served.
        SpecError: the spec is wrong, or this model cannot be served with it.
    """
    if config.model_type not in ARCHITECTURES:
        raise AdapterError(
            f"'{model}' is a model of type '{config.model_type}'; vLLM can be given pruning for "
            f"{', '.join(ARCHITECTURES)}. On Hugging Face more are supported: see `scope models adapters`"
        )
    pruner = Pruner(spec, registry=registry)
    is_file = spec.endswith((".yaml", ".yml", ".json"))
    value = json.loads(written(pruner)) if is_file else spec
    setattr(config, KEY, value)
    Served(config)  # the same checks that the engine makes when it starts
    folder = Path(tempfile.gettempdir()) / f"scope-serve-{uuid.uuid4().hex[:12]}"
    return {"architectures": [ARCHITECTURES[config.model_type]], KEY: value, metrics.KEY: str(folder)}


def configuration(model: str, revision: str | None = None) -> Any:
    """The checkpoint's configuration.

    Raises:
        ZooError: there is none.
        MissingDependencyError: transformers is not installed.
    """
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise MissingDependencyError(
            "serving needs transformers and vLLM. Try: pip install 'scope-core[vllm]'"
        ) from error
    try:
        with asking(model) as how:
            return AutoConfig.from_pretrained(model, revision=revision, **how)
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ZooError(
            f"the configuration of '{model}' cannot be read; give a folder with a checkpoint, or a hub id: {text}"
        ) from error


def has_template(model: str, revision: str | None = None) -> bool:
    """Whether the checkpoint brings a chat template."""
    from transformers.utils import cached_file

    def found(name: str) -> str | None:
        quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
        path: str | None = cached_file(model, name, revision=revision, **quiet, **how)
        return path

    with asking(model) as how:
        if any(found(name) for name in _TEMPLATE_FILES):
            return True
        settings = [found(name) for name in ("processor_config.json", "tokenizer_config.json")]
    return any(path and "chat_template" in json.loads(Path(path).read_text("utf-8")) for path in settings)


def template_for(config: Any, model: str) -> Path:
    """A chat template of ours.

    Raises:
        AdapterError: there is none for this type of language model.
    """
    kind = config.text_config.model_type
    if kind not in TEMPLATES:
        raise AdapterError(
            f"'{model}' brings no chat template, and there is none here for language models of type '{kind}'; write "
            f"one and pass it on: scope serve {model} ... -- --chat-template FILE"
        )
    return Path(__file__).parent / "templates" / f"{TEMPLATES[kind]}.jinja"


def given(options: Sequence[str], name: str) -> str | None:
    """The value of one of vLLM's options, if it is there; vLLM takes ``_`` for ``-``."""
    for number, word in enumerate(options):
        option, equals, value = word.partition("=")
        if option.replace("_", "-") == name:
            return value if equals else "".join(options[number + 1 : number + 2])
    return None


def taken(options: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The user's ``--hf-overrides`` as a table, and the options without it.

    Raises:
        SpecError: it is no table in JSON.
    """
    text, rest, skip = given(options, "--hf-overrides"), [], False
    for word in options:
        name = word.partition("=")[0].replace("_", "-")
        if name.startswith("--hf-overrides."):
            raise SpecError(f"write '{word}' as a table: --hf-overrides '{{...}}'")
        if name != "--hf-overrides" and not skip:
            rest.append(word)
        skip = name == "--hf-overrides" and "=" not in word
    if text is None:
        return {}, rest
    try:
        table = json.loads(text)
    except ValueError as error:
        raise SpecError(f"--hf-overrides {text!r} is no JSON: {error}") from error
    if not isinstance(table, dict):
        raise SpecError(f"--hf-overrides {text!r} is no table; write '{{\"key\": value}}'")
    return table, rest
