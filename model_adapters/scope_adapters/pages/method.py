"""`method_page`: a method's page, in Markdown, from its recipe, its parts, and what was measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from scope_adapters.pages.facts import Host, Method, method_of
from scope_adapters.pages.figures import figures
from scope_adapters.pages.markdown import changes, code, paper_links, table, wrapped, yaml_line, yaml_lines
from scope_adapters.pages.swap import swapped
from scope_core import Registry, default_registry


def method_page(
    name: str,
    *,
    registry: Registry | None = None,
    hosts: Sequence[Host] | None = None,
    image: str = "",
    caption: str = "",
    source: str = "",
    results: Mapping[str, Any] | None = None,
    docs: str = "",
) -> str:
    """The page of a method: what it rewards, parts, variants, models, figures, differences from its release.

    Args:
        name: A recipe; its variants (``name@...``) are on the same page, and have no other.
        registry: Registry of the recipe; by default that of the process.
        hosts: Families of models, from `scope_adapters.pages.facts.hosts`; none leaves that section out.
        image: Path or address of an image of what it keeps; empty for none.
        caption: Markdown below the image.
        source: Markdown link to the recipe's file.
        results: ``results.json`` of `scope bench accuracy`.
        docs: Path from the page to scope-core's documentation, e.g. ``"../"``; empty for no links into it.

    Raises:
        UnknownNameError: there is no such recipe.
        SpecError: the recipe is wrong.
    """
    method = method_of(name, registry or default_registry())
    sections = [
        ("", _head(method, image, caption)),
        ("", _facts(method, source)),
        ("Formula", f"```text\n{method.item.formula.strip()}\n```" if method.item.formula else ""),
        ("Parts", _parts(method, docs)),
        ("Swap one part", swapped(method)),
        ("Variants", _variants(method)),
        ("Where it runs", _hosts(method, hosts, docs) if hosts else ""),
        ("Figures on the embedded benchmark" if docs else "Figures", figures(method, results, docs) if results else ""),
        ("Differences from its release", _differences(method, docs)),
    ]
    text = f"# {method.name}\n\n"
    for title, body in sections:
        if body:
            text += f"{f'## {title}' if title else ''}\n\n{body.strip()}\n\n"
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _head(method: Method, image: str, caption: str) -> str:
    about = method.item.about or f"{method.item.summary[:1].upper()}{method.item.summary[1:]}."
    parts = [wrapped(about)]
    if image:
        parts += [f"![The visual tokens that {method.name} keeps]({image})", wrapped(caption)]
    return "\n\n".join(filter(None, parts))


def _facts(method: Method, source: str) -> str:
    papers = "; ".join(paper_links(method.item.paper))
    authors, budget = method.item.code, yaml_line(method.pruner.spec.to_dict(method.registry)["budget"])
    rows = [
        ("keeps", method.item.summary),
        ("paper", papers),
        ("authors' code", f"[{authors.removeprefix('https://')}]({authors})" if authors else ""),
        ("this code", source),
        ("acts", f"{method.place}: {code(dict.fromkeys(method.points))}"),
        ("reads", code(method.needs) or "the tokens' features alone"),
        ("CLS token", "needed" if method.needs_cls else "not needed"),
        ("question", "read: another question keeps other tokens" if method.needs_text else "not read"),
        ("attention", "not read" if method.attention_free else "read"),
        ("dropped tokens", "merged into kept ones" if method.merges else "not used"),
        ("default budget", f"`{budget}`"),
    ]
    head, *others = (row for row in rows if row[1])
    return table(head, others)


def _parts(method: Method, docs: str) -> str:
    registry = method.registry
    lines = f"```yaml\n{yaml_lines(method.pruner.spec.to_dict(registry))}\n```"
    seen = dict.fromkeys((part.kind, part.spec.name) for stage in method.pruner.stages for part in stage.walk())
    rows = []
    for kind, part in seen:
        record = registry.get(kind, part)
        shown = f"[{kind}]({docs}parts.md#{kind})" if docs else kind
        rows.append((shown, f"`{part}`", record.item.summary, record.item.paper))
    about = f"`scope explain {method.name}` prints this. Every option is described "
    about += f"on [Parts]({docs}parts.md)." if docs else "by `scope show PART`."
    return f"{wrapped(about)}\n\n{lines}\n\n{table(('kind', 'part', 'what it does', 'source'), rows)}"


def _variants(method: Method) -> str:
    own = method.pruner.spec.to_dict(method.registry)
    rows = []
    for other in method.variants:
        changed = changes(own, other.pruner.spec.to_dict(method.registry))
        lines = [f"`{path}: {yaml_line(value)}`" for path, value in changed]
        rows.append((f"`{other.name}`", other.item.summary, "<br>".join(lines)))
    return table(("recipe", "for", f"differs from `{method.name}` in"), rows) if rows else ""


def _hosts(method: Method, hosts: Sequence[Host], docs: str) -> str:
    rows = []
    for one in (method, *method.variants):
        found = one.runs_on(hosts)
        refused: dict[str, list[str]] = {}
        for host, why in found.items():
            if why:
                refused.setdefault(why, []).append(host)
        not_on = "<br>".join(f"{code(names)}: {why}" for why, names in refused.items())
        why_not = one.served()
        rows.append(
            (
                f"`{one.name}`",
                code(host for host, why in found.items() if not why) or "none as it is",
                not_on or "-",
                f"no: {why_not}" if why_not else "yes",
            )
        )
    about = "Families of models by their adapter, each in its default configuration; `scope list recipe --model NAME` "
    about += "says it for a model. *Served* is by vLLM with LLaVA-1.5"
    about += f" ([Serve]({docs}serving.md))." if docs else "."
    return f"{wrapped(about)}\n\n{table(('recipe', 'runs on', 'not on', 'served'), rows)}"


def _differences(method: Method, docs: str) -> str:
    text = method.differences()
    if not text:
        return ""
    text = (
        re.sub(r"\]\((?!\w+://)", f"]({docs}", text)
        if docs
        else re.sub(r"\[([^\]]+)\]\((?!\w+://)[^)]*\)", r"\1", text)
    )
    more = f"\n\nWhat was compared, and what all methods share: [Numerics and parity]({docs}numerics-and-parity.md)."
    return f"{text}{more if docs else ''}"
