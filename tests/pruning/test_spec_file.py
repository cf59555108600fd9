"""Spec files made to hurt, and others that people write: each is right, or refused in few words, at once."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import scope_core as scope
from scope_core import Pruner, SpecError
from scope_core.pruning.spec_limits import BYTES, DEPTH, VALUES

HEAD = "recipe: scope\nbudget: 64\n"


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(spec: Any, registry: scope.Registry) -> str:
    """The message, after checks that it is short and that refusing took little memory."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(SpecError) as caught:
            Pruner(spec, registry=registry)
        assert time.perf_counter() - start < 60  # seconds on a busy machine, with memory traced; not minutes
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 2200
    return str(caught.value)


def bomb(item: str, levels: int = 12) -> str:
    return "x:\n" + "".join(f"  - &a{i} {item.replace('*', f'*a{i - 1}' if i else 'x')}\n" for i in range(levels))


TEN = ", ".join(["*"] * 10)
MERGED = "".join(
    f"a{i}: &a{i} {{{f'<<: [{TEN}], '.replace('*', f'*a{i - 1}') if i else ''}k{i}: 1}}\n" for i in range(12)
)
HOSTILE = {
    "aliases.yaml": (HEAD + bomb(f"[{TEN}]"), f"more than {VALUES:,} values"),
    "tables.yaml": (HEAD + bomb("{" + ", ".join(f"k{j}: *" for j in range(10)) + "}"), f"more than {VALUES:,} values"),
    "merges.yaml": (HEAD + MERGED, "there is no option 'a0'"),
    "many_merges.yaml": (
        "b: &b {" + ", ".join(f"k{i}: 1" for i in range(2000)) + "}\nc: {<<: [" + "*b, " * 2000 + "]}\n",
        f"more than {VALUES:,} keys and values",
    ),
    "self_merge.yaml": ("budget: &b {<<: *b, keep: 3}\n", "inside each other"),
    "itself.yaml": (HEAD + "constraints: &c [*c]\n", "holds itself, under 'constraints'"),
    "itself_whole.yaml": ("&a {recipe: scope, then: [*a]}\n", "holds itself, under 'then'"),
    "deep.yaml": (HEAD + "x: " + "[" * 50_000, f"more than {DEPTH} tables or lists"),
    "deep_tables.yaml": (HEAD + "x: " + "{a: " * 20_000, f"more than {DEPTH} tables or lists"),
    "deep_blocks.yaml": ("- " * 100_000, f"more than {DEPTH} tables or lists"),
    "deep.json": ('{"recipe": ' + "[" * 100_000 + "]" * 100_000 + "}", "too many tables or lists inside each other"),
    "keys.yaml": ("".join(f"k{i}: {i}\n" for i in range(100_000)), f"larger than {BYTES:,} bytes"),
    "fewer_keys.yaml": ("".join(f"k{i}: {i}\n" for i in range(9000)), f"more than {VALUES:,} keys and values"),
    "keys.json": (json.dumps({f"k{i}": i for i in range(9000)}), "and 8,988 further options that do not exist"),
    "parts.json": (json.dumps({"recipe": "scope", "constraints": ["x"] * 9000}), "9,000 constraint parts in one list"),
    "stages.json": (json.dumps({"recipe": "scope", "then": [{}] * 9000}), "9,000 stages in one list"),
    "large.yaml": ("#" * 5_000_000, f"larger than {BYTES:,} bytes"),
    "text.yaml": ("recipe: " + "s" * 200_000, "a text of 200,000 characters, under 'recipe'"),
    "name.yaml": (HEAD + "saliency: " + "s" * 3900, "saliency: no saliency source is called 'sss"),
    "key.yaml": (HEAD + "? " + "k" * 3900 + "\n: 1", "there is no option 'kkk"),
    "digits.yaml": ("recipe: scope\nbudget: " + "9" * 100_000, "not valid YAML"),
    "digits.json": ('{"recipe": "scope", "budget": ' + "9" * 100_000 + "}", "not valid JSON"),
    "hex.yaml": ("recipe: scope\nbudget: 0x" + "f" * 100_000, "at most 64 bits (given: <int of 400,000 bits>)"),
    "nul.yaml": ("recipe: sc\0ope\n", "not valid YAML: unacceptable character #x0000"),
    "nul.json": ('{"recipe": "sc\\u0000ope"}', r"no recipe is called 'sc\x00ope'"),
    "latin1.yaml": ((HEAD + "# café").encode("latin-1"), "line 3 is not UTF-8 text"),
    "torn_utf16.yaml": (b"\xff\xfe\x00", "is not UTF-16-LE text"),
    "bare_utf16.yaml": (HEAD.encode("utf-16-le"), "not valid YAML: unacceptable character #x0000"),
    "bytes.yaml": (bytes(range(256)), "is not UTF-8 text"),
    "two_merges.yaml": (
        "a: &a {x: 1}\nb: {<<: *a, <<: *a}\n", "'<<' is given twice; to merge several tables write <<: [*one, *other]",
    ),
    "octal.yaml": ("recipe: scope\nbudget: 010\n", "010 is one number in YAML 1.1 and another or text in 1.2"),
    "sixties.yaml": ("recipe: scope\nbudget: 1:30\n", "1:30 is one number in YAML 1.1"),
    "off.yaml": (HEAD + "order: off\n", "line 3, order: Input should be one of the option's values; YAML reads an"),
    "date.yaml": (HEAD + "at: 2024-01-01\n", "line 3, at: Input should be text"),
    "month.yaml": (HEAD + "at: 2024-13-45\n", "not valid YAML: month must be in 1..12"),
    "bool.yaml": (HEAD + "at: !!bool maybe\n", "not valid YAML: a value cannot be read"),
    "int.yaml": (HEAD + "at: !!int ''\n", "not valid YAML: a value cannot be read"),
    "nan.yaml": ("recipe: scope\nbudget: .nan\n", "line 2, budget.keep_ratio: Input should be a finite number"),
    "inf.json": ('{"recipe": "scope", "budget": 1e400}', "budget.keep_ratio: Input should be a finite number"),
    "toml.toml": (b"", "spec files are YAML or JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_files_made_to_hurt_are_refused_in_words(name: str, registry: scope.Registry, tmp_path: Path) -> None:
    text, complaint = HOSTILE[name]
    assert complaint in refused(str(write(tmp_path, name, text)), registry)


WRITTEN: dict[str, tuple[str | bytes, int]] = {
    "merged.yaml": (
        "budget: &b {name: tokens, keep: 32, per: total}\nthen: [{at: 'decoder[2]', budget: {<<: *b}}]",
        32,
    ),
    "over_merged.yaml": (
        "recipe: scope\nthen: [{at: 'decoder[2]', budget: &b {keep: 3}}]\nbudget: {<<: *b, keep: 4}",
        4,
    ),
    "list_merged.yaml": (
        "recipe: scope\nthen: [{at: 'decoder[2]', budget: {<<: [&a {keep: 5}, &b {keep: 6}]}}]\nbudget: *a",
        5,
    ),
    "alias.yaml": ("recipe: scope\nthen: [{at: 'decoder[2]', budget: &b {keep: 7}}]\nbudget: *b", 7),
    "utf16.yaml": ("recipe: scope\nbudget: 8\n".encode("utf-16"), 8),
    "bom.yaml": ("recipe: scope\nbudget: 9\n".encode("utf-8-sig"), 9),
    "bom.json": ('{"recipe": "scope", "budget": 10}'.encode("utf-8-sig"), 10),
    "UPPER.YAML": ("budget: 11", 11),
    "hex.yaml": ("budget: 0xC", 12),
    "exponent.yaml": ("budget: 13\ncombiner: {name: product, alpha: 1e0}", 13),
    "yes.yaml": ("budget: 14\nsimilarity: {name: dot, scaled: yes}", 14),
    "whole.yaml": ("budget: {name: tokens, keep: 15.0}", 15),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_people_write_is_right(name: str, registry: scope.Registry, tmp_path: Path) -> None:
    text, keep = WRITTEN[name]
    assert Pruner(str(write(tmp_path, name, text)), registry=registry).spec.budget.keep == keep  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "then: [{budget: &b {keep: 1, keep: 2}}]\nbudget: {<<: *b}\n",
        "then: &t {budget: {<<: &b {keep: 1, keep: 2}}}\nbudget: *b\n",
        "then: [&a {<<: &b {keep: 1, keep: 2}}]\nbudget: {<<: *a}\n",
    ],
)
def test_merge_keys_hide_no_key_given_twice(text: str, registry: scope.Registry, tmp_path: Path) -> None:
    assert "'keep' is given twice" in refused(write(tmp_path, "twice.yaml", text), registry)


def test_devices_are_read_up_to_the_limit(registry: scope.Registry) -> None:
    if Path("/dev/zero").exists():
        assert f"larger than {BYTES:,} bytes" in refused(Path("/dev/zero"), registry)


MISTAKES = """\
recipe: scope
budgett: 3
at: vison
combiner: {name: product, alfa: 1,
           alpha: true}
saliency: cls_atention
then:
  - at: decoder[0]
    combiner: {alpha: "0.5"}
  - recipe: scpe
  - at: decoder[9]
    budget: -1
"""
PLACES = (
    (2, "", "there is no option 'budgett' (did you mean 'budget'?)"),
    (3, "at", "'vison' is not an interception point (did you mean 'vision'?)"),
    (4, "combiner", "combiner 'product' has no option 'alfa' (did you mean 'alpha'?)"),
    (5, "combiner.alpha", "Input should be a number (given: True)"),
    (6, "saliency", "no saliency source is called 'cls_atention' (did you mean 'cls_attention'?)"),
    (8, "then.0.at", "'decoder[0]' is not an interception point"),
    (9, "then.0.combiner.alpha", "Input should be a number; write it without quotes (given: '0.5')"),
    (10, "then.1", "no recipe is called 'scpe' (did you mean 'scope'?)"),
    (12, "then.2.budget.keep", "Input should be greater than or equal to 0 (given: -1)"),
)


def test_every_mistake_is_reported_at_once_with_its_line(registry: scope.Registry, tmp_path: Path) -> None:
    message = refused(write(tmp_path, "wrong.yaml", MISTAKES), registry)
    assert f"is wrong in {len(PLACES)} places:" in message
    for line, place, text in PLACES:
        assert f"  line {line}{', ' if place else ''}{place}: {text}" in message
    no_file = refused(
        {"recipe": "scop", "at": "vison", "combiner": {"alpha": 2}, "then": [{"at": "decoder[2]", "x": 1}]}, registry
    )
    assert (
        "is wrong in 3 places" in no_file
    )  # neither a missing budget nor a part without a name: the recipe is unknown
    assert "line" not in no_file


def test_lines_of_json(registry: scope.Registry, tmp_path: Path) -> None:
    text = json.dumps({"recipe": "scope", "budget": -1, "combiner": {"alpha": True}}, indent=2)
    message = refused(write(tmp_path, "wrong.json", text), registry)
    for place in ("line 3, budget.keep: ", "line 5, combiner.alpha: "):
        assert place in message
