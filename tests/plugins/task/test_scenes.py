"""The scenes task: what it draws, what it asks, and the frozen test set."""

import hashlib
import json
import re
import sys
from collections import Counter
from io import BytesIO
from random import Random
from types import SimpleNamespace

import pytest
from PIL import Image

from scope_core import MissingDependencyError, TaskError, default_registry
from scope_core.tasks import Box
from scope_plugins.task.scenes import families, frozen, photographs
from scope_plugins.task.scenes.classes import GROUP_OF, NAMES, PLURALS, WEIGHTS
from scope_plugins.task.scenes.compose import SIZE, plan
from scope_plugins.task.scenes.questions import WORDINGS, Asker, absent, chosen, everything
from scope_plugins.task.scenes.sprites import SHIPPED, read_sprites

SINGULAR = {plural: name for name, plural in PLURALS.items()}


def task(**options):
    registry = default_registry()
    return registry.build("task", registry.get("task", "scenes").spec(**options))


@pytest.fixture(scope="module")
def shipped():
    return task().examples("test")


def expected(question, boxes):
    """The answer, from the text and the boxes alone, by another way than the task's own."""
    words = [SINGULAR.get(w, w) for w in re.findall(r"[a-z]+", question.text.lower())]
    named = [word for word in words if word in NAMES]
    of = {name: [b for b in boxes if b.label == name] for name in named}
    middle = {name: ((b[0].x0 + b[0].x1) / 2, (b[0].y0 + b[0].y1) / 2) for name, b in of.items() if b}
    if question.kind == "existence":
        return "yes" if of[named[0]] else "no"
    if question.kind == "count":
        return str(len(of[named[0]]))
    if question.kind == "where":
        x, y = middle[named[0]]
        return ("bottom" if y > 168 else "top") + ("-right" if x > 168 else "-left")
    if question.kind == "relation":
        first, second = (middle[name][0] for name in named)
        return "yes" if (first - second < 0) == ("left" in words) else "no"
    if question.kind == "size":
        long = {name: max(b[0].x1 - b[0].x0, b[0].y1 - b[0].y0) for name, b in of.items()}
        return max(long, key=long.get)
    return None


def test_every_answer_of_the_frozen_set_follows_from_its_boxes(shipped):
    wrong = [
        (example.id, q.text, q.answer)
        for example in shipped
        for q in example.questions
        if q.kind != "background" and expected(q, example.objects) != q.answer
    ]
    assert wrong == []


def test_the_frozen_set_is_as_large_as_promised(shipped):
    questions = [q for example in shipped for q in example.questions]
    assert len(shipped) >= 400
    assert len(questions) >= 4000
    assert len({q.id for q in questions}) == len(questions)
    assert set(Counter(q.kind for q in questions)) == set(WORDINGS)
    assert len(NAMES) >= 40


def test_the_frozen_images_open_and_have_the_models_size(shipped):
    image = shipped[17].image()
    assert image.size == (SIZE, SIZE)
    assert image.mode == "RGB"
    assert image.tobytes() == shipped[17].image().tobytes()


@pytest.mark.parametrize("split", ["random", "popular", "adversarial"])
def test_existence_is_balanced_in_each_of_popes_splits(shipped, split):
    answers = Counter(q.answer for e in shipped for q in e.questions if q.kind == "existence" and q.tags == (split,))
    assert answers["yes"] == answers["no"] == len(shipped)


def test_always_giving_the_commonest_answer_is_far_below_the_bar(shipped):
    for kind, most in {"existence": 0.51, "count": 0.45, "where": 0.35, "relation": 0.56, "background": 0.25}.items():
        answers = Counter(q.answer for e in shipped for q in e.questions if q.kind == kind)
        assert max(answers.values()) / answers.total() <= most, kind


def test_a_changed_test_set_is_refused(tmp_path):
    for path in frozen.FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "images.zip").write_bytes(b"other")
    with pytest.raises(TaskError, match=r"images\.zip is not the frozen test set"):
        frozen.read(folder=tmp_path)
    (tmp_path / "images.zip").unlink()
    with pytest.raises(TaskError, match="Reinstall"):
        frozen.read(folder=tmp_path)


def test_the_frozen_scenes_can_be_drawn_again(shipped):
    found, sprites = photographs.photographs("test"), read_sprites(SHIPPED)
    for index in (0, 5, 12):
        scene = plan(f"test:{index}", [found[index % len(found)]])
        image, boxes = scene.draw(sprites)
        assert [box.label for box in boxes] == [box.label for box in shipped[index].objects]
        for box, kept in zip(boxes, shipped[index].objects, strict=True):
            # Other versions of Pillow may round an edge the other way.
            assert abs(box.x0 - kept.x0) <= 1
            assert abs(box.y1 - kept.y1) <= 1
        assert difference(image, shipped[index].image()) < 6


def difference(one, two):
    pairs = zip(one.resize((48, 48)).tobytes(), two.resize((48, 48)).tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (48 * 48 * 3)


def test_no_photograph_is_in_two_splits():
    digests = {
        split: {hashlib.sha256(p.path.read_bytes()).hexdigest() for p in photographs.photographs(split)}
        for split in ("train", "validation", "test")
    }
    assert not digests["train"] & digests["test"]
    assert not digests["train"] & digests["validation"]
    assert not digests["validation"] & digests["test"]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_drawn_scene_depends_on_its_seed_alone(split):
    one, two = task(vary=True).examples(split, 3), task(vary=True).examples(split, 2, seed=1)
    assert [e.id for e in one][1:] == [e.id for e in two]
    for a, b in zip(one[1:], two, strict=True):
        assert a.questions == b.questions
        assert a.objects == b.objects
        assert a.image().tobytes() == b.image().tobytes()
    assert one[0].image().tobytes() != one[1].image().tobytes()


@pytest.mark.parametrize("wording", ["test", "short", "varied"])
def test_drawn_questions_are_answered_rightly_in_every_wording(wording):
    for example in task(wording=wording, ask="everything", vary=True).examples("train", 12, seed=100):
        assert example.questions
        for q in example.questions:
            assert q.kind == "background" or expected(q, example.objects) == q.answer, q


def test_boxes_hold_the_objects_pixels():
    blank = photographs.Photograph(SHIPPED / "apple-0.png")
    scene = plan("boxes", [blank])
    image, boxes = scene.draw(read_sprites(SHIPPED))
    bare = type(scene)(scene.seed, scene.photograph, (), varied=False).draw(read_sprites(SHIPPED))[0]
    inside = Image.new("L", (SIZE, SIZE), 0)
    for box in boxes:
        inside.paste(255, (int(box.x0), int(box.y0), int(box.x1), int(box.y1)))
    changed = [a != b for a, b in zip(pixels(image), pixels(bare), strict=True)]
    covered = [value == 255 for value in inside.tobytes()]
    assert any(changed)
    assert not any(c and not i for c, i in zip(changed, covered, strict=True))


def pixels(image):
    raw = image.tobytes()
    return [raw[i : i + 3] for i in range(0, len(raw), 3)]


def test_objects_do_not_overlap_by_more_than_rotation_adds():
    for index in range(30):
        objects = plan(f"apart:{index}", [photographs.Photograph(SHIPPED / "apple-0.png")]).objects
        assert objects
        for n, one in enumerate(objects):
            for two in objects[:n]:
                assert max(abs(one.x - two.x), abs(one.y - two.y)) > (one.size + two.size) / 2


def test_classes_that_the_photograph_shows_are_neither_drawn_nor_asked_about():
    shown = photographs.Photograph(SHIPPED / "apple-0.png", None, ("cat", "dog"))
    for index in range(20):
        scene = plan(f"shown:{index}", [shown])
        boxes = [Box(o.label, o.x, o.y, o.x + o.size, o.y + o.size) for o in scene.objects]
        asker = Asker("k", boxes, shown, Random(index))
        text = " ".join(q.text for make in (chosen, everything) for q in make(asker))
        assert not re.search(r"\b(cat|dog|cats|dogs)\b", text)


def test_absent_classes_are_absent_and_follow_popes_rules():
    present = ["dog", "cat", "horse"]
    splits = ("random", "popular", "adversarial")
    drawn = {split: [absent(present, split, Random(n)) for n in range(150)] for split in splits}
    assert not set(present) & {name for names in drawn.values() for name in names}
    assert len(set(drawn["random"])) > 25
    assert all(WEIGHTS[name] == 3 for name in drawn["popular"])
    animals = {split: sum(GROUP_OF[name] == "animals" for name in names) for split, names in drawn.items()}
    assert animals["adversarial"] > 1.4 * animals["random"]


def test_a_folder_without_a_class_says_which(tmp_path):
    Image.new("RGBA", (8, 8), "red").save(tmp_path / "dog-0.png")
    with pytest.raises(TaskError, match="has no sprite of cat"):
        task(sprites=str(tmp_path)).examples("validation", 1)


def test_other_photographs_are_added(tmp_path):
    (tmp_path / "plants").mkdir()
    Image.new("RGB", (400, 500), "green").save(tmp_path / "plants" / "leaf.png")
    (tmp_path / "shows.txt").write_text("leaf.png: tree, rose\nleaf.png: cactus\n", "utf-8")
    (leaf,) = photographs.read_photographs(tmp_path)
    assert (leaf.name, leaf.kind, leaf.shows) == ("leaf", "plants", ("tree", "rose", "cactus"))
    assert len(task(photographs=str(tmp_path)).examples("validation", 2)) == 2
    with pytest.raises(TaskError, match="has no photographs"):
        photographs.read_photographs(tmp_path / "nowhere")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(photographs, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="scikit-image: pip install scikit-image"):
        task().examples("validation", 1)


def test_an_unknown_split_names_the_splits():
    with pytest.raises(TaskError, match="test, train, validation"):
        task().examples("tests")


def test_families_are_drawn_from_unpacked_packages(tmp_path, monkeypatch):
    buffer = BytesIO()
    Image.new("RGBA", (20, 30), "red").save(buffer, "PNG")
    drawn = []
    fake = SimpleNamespace(svg_to_bytes=lambda **given: drawn.append(given["svg_string"]) or list(buffer.getvalue()))
    monkeypatch.setitem(sys.modules, "resvg_py", fake)
    icons = {"width": 32, "icons": {"dog": {"body": "<a/>"}, "catface": {"body": "<b/>"}}, "aliases": {}}
    icons["aliases"]["pizza"] = {"parent": "dog"}
    (tmp_path / "icons.json").write_text(json.dumps(icons), "utf-8")
    assert families.draw(tmp_path, tmp_path / "out") == 3
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cat-1.png", "dog-0.png", "pizza-0.png"]
    assert 'viewBox="0 0 32 16"' in drawn[0]
    with pytest.raises(TaskError, match="is not an unpacked"):
        families.draw(tmp_path / "nowhere", tmp_path)
