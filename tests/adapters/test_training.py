"""How the small LLaVA is trained: targets, subsets, the lean forward pass, resuming, exporting."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from scope_adapters.training.data import gather
from scope_adapters.training.export import export
from scope_adapters.training.features import Features
from scope_adapters.training.prompts import Asked, Words, ask, pack
from scope_adapters.training.run import train
from scope_adapters.training.settings import SIDE, TOKENS, WIDTH, Settings
from scope_adapters.training.student import Student, full_mask
from scope_adapters.training.subsets import PATTERNS, owners, seen, subset
from scope_adapters.training.vocabulary import BOS, EOS, UNK, plurals, tokenizer
from scope_core import ZooError
from scope_core.tasks import Box, Question

WORDS = Words(yes=10, no=11, unknown=12, numbers=tuple(range(20, 30)))
SMALL = Settings(
    scenes=4, width=32, heads=2, hidden=48, layers=2, align_steps=3, lookup_steps=3, mixed_steps=3, compile=False
)


@pytest.fixture(scope="module")
def words():
    return tokenizer(["dog", "bus", "butterfly"], ["Is there a dog in the image?", "yes", "top-left", "no", "3"])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("<image> Is there a DOG, in the image?", ["<image>", "is", "there", "a", "dog", "in", "the", "image"]),
        ("dogs buses butterflies", ["dog", "bus", "butterfly"]),
        ("is there a zebra", ["is", "there", "a", "<unk>"]),
        ("is there a 🐕 собака", ["is", "there", "a", "<unk>", "<unk>"]),
        ("top-left", ["top-left"]),
    ],
)
def test_the_tokenizer_reads_whole_words(words, text, tokens):
    assert words.tokenize(text) == tokens
    assert words(text)["input_ids"] == [BOS, *words.convert_tokens_to_ids(tokens)]


def test_plurals():
    assert {"boxes", "boxs"} <= set(plurals("box"))
    assert "berries" in plurals("berry")
    assert "cacti" in plurals("cactus")


def test_owners_against_a_loop_over_patches():
    boxes = [Box("a", 20, 30, 90, 70), Box("b", 200, 210, 226, 236)]
    expected = np.full(TOKENS, -1)
    for index, box in enumerate(boxes):
        for row in range(SIDE):
            for col in range(SIDE):
                dx = abs(col * 14 + 7 - (box.x0 + box.x1) / 2)
                dy = abs(row * 14 + 7 - (box.y0 + box.y1) / 2)
                if dx <= max(0.42 * (box.x1 - box.x0), 7.01) and dy <= max(0.42 * (box.y1 - box.y0), 7.01):
                    expected[row * SIDE + col] = index
    assert (owners(boxes) == expected).all()
    assert set(owners(boxes)) == {-1, 0, 1}


def test_an_object_is_seen_gone_or_in_doubt():
    owner = np.full(TOKENS, -1, np.int8)
    owner[:20], owner[20:22] = 0, 1
    background = np.arange(100, 110)
    assert seen(owner, None, 2) == [1, 1]
    assert seen(owner, background, 2) == [0, 0]
    assert seen(owner, np.array([0, 1, 2, 20]), 2) == [1, 1]
    assert seen(owner, np.array([0, 100]), 2) == [-1, 0]


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
@pytest.mark.parametrize("keep", [1, 64, TOKENS])
def test_a_subset_keeps_so_many_different_tokens_in_order(pattern, keep):
    features = np.random.default_rng(0).standard_normal((TOKENS, 8))
    owner = owners([Box("a", 20, 30, 90, 70)])
    kept = [subset(pattern, keep, features, owner, np.random.default_rng(3)) for _ in range(2)]
    assert len(kept[0]) == len(set(kept[0])) == keep
    assert (np.diff(kept[0]) > 0).all()
    assert (kept[0] == kept[1]).all()


def questions():
    return [
        Asked("existence", (5, 100), WORDS.yes, (100,)),
        Asked("existence", (5, 102), WORDS.no, (102,)),
        Asked("count", (6, 100), WORDS.numbers[2], (100,)),
        Asked("where", (7, 101), 55, (101,)),
        Asked("relation", (8, 101, 103), WORDS.yes, (101, 103)),
    ]


def answers(state):
    """Answers by question, of many draws, without those made unknown."""
    found = {}
    for n in range(60):
        for q in ask(questions(), state, WORDS, 8, Random(n)):
            if q.answer != WORDS.unknown:
                found.setdefault(q.ids, set()).add(q.answer)
    return found


def test_answers_follow_what_is_left():
    # Two objects of class 100, one of 101, one of 103.
    whole = answers([(100, 1), (100, 1), (101, 1), (103, 1)])
    assert whole == {
        (5, 100): {WORDS.yes},
        (5, 102): {WORDS.no},
        (6, 100): {WORDS.numbers[2]},
        (7, 101): {55},
        (8, 101, 103): {WORDS.yes},
    }
    one_gone = answers([(100, 1), (100, 0), (101, 0), (103, 1)])
    assert one_gone == {(5, 100): {WORDS.yes}, (5, 102): {WORDS.no}, (6, 100): {WORDS.numbers[1]}}
    in_doubt = answers([(100, -1), (100, 1), (101, 1), (103, 0)])
    assert in_doubt == {(5, 102): {WORDS.no}, (7, 101): {55}}


def test_a_question_with_an_unknown_word_is_answered_with_unknown():
    state = [(100, 1), (100, 1), (101, 1), (103, 1)]
    drawn = [q for n in range(200) for q in ask(questions(), state, WORDS, 8, Random(n))]
    assert all((UNK in q.ids) == (q.answer == WORDS.unknown) for q in drawn)
    assert 0.01 < sum(UNK in q.ids for q in drawn) / len(drawn) < 0.15


def test_the_lean_forward_pass_is_the_models(words):
    """Packed questions about one image give what transformers gives for each question alone."""
    torch.manual_seed(0)
    student = Student(SMALL, len(words))
    features = torch.randn(2, 9, WIDTH)
    asked = [[Asked("existence", (6, 7, 8), 9, ()), Asked("count", (8, 6), 5, ())], [Asked("where", (7,), 6, ())]]
    packed = pack(asked, 12)
    with torch.no_grad():
        made = student.forward(features, packed.ids, packed.positions, full_mask(packed, 9)).float()
        for row, scene in enumerate(asked):
            start = 0
            for question in scene:
                ids = torch.tensor([[*question.ids, question.answer]])
                prefix = torch.cat([student.words[BOS][None], student.project(features[row])])[None]
                embeds = torch.cat([prefix, student.words[ids]], 1)
                states = student.decoder.model(inputs_embeds=embeds).last_hidden_state[0, 10:]
                torch.testing.assert_close(made[row, start : start + len(states)], states, atol=0.06, rtol=0.06)
                start += len(states)
    assert packed.targets[0].tolist() == [-100, -100, 9, EOS, -100, 5, EOS, *[-100] * 5]


@pytest.fixture(scope="module")
def toy():
    """Four scenes whose features say nothing; enough to take steps."""
    random = np.random.default_rng(0)
    values = random.standard_normal((4, TOKENS, WIDTH)).astype(np.float16)
    boxes = tuple((Box("dog", 10, 10, 80, 80), Box("cat", 200, 30, 260, 90)) for _ in range(4))
    asked = [
        [
            Question("a", "Is there a dog?", "yes", "existence"),
            Question("b", "Is there a bus?", "no", "existence"),
            Question("c", "How many cats?", "1", "count"),
        ]
    ] * 4
    return gather(Features(values, boxes), asked)


def test_data_for_a_model_that_has_its_words_already(toy):
    features, given = toy[0].features, tokenizer(["dog", "bus", "cat"], ["Is there a dog? yes no unknown 0 1 2"])
    asked = [[Question("c", "How many cats?", "1", "count")]] * 4
    data, words = gather(features, asked, given)
    assert words is given
    assert [data.first - 1 + number for number in data.classes[0]] == given.convert_tokens_to_ids(["dog", "cat"])
    assert data.pools[0][0].labels == (given.convert_tokens_to_ids("cat"),)
    assert data.pools[0][0].answer == given.convert_tokens_to_ids("1")
    with pytest.raises(ZooError, match="no word for 'cat'"):
        gather(features, asked, tokenizer(["dog"], []))


def run(toy, folder, settings=SMALL, **options):
    data, words = toy
    ticks = []
    student = train(data, settings, len(words), folder, tick=lambda *now: ticks.append(now), every=2, **options)
    return student, ticks


def test_an_interrupted_run_ends_as_an_uninterrupted_one(toy, tmp_path):
    straight, ticks = run(toy, tmp_path / "straight")
    assert [(stage, step) for stage, step, *_ in ticks] == [
        (stage, step) for stage in ("align", "lookup", "mixed-1", "mixed-2", "mixed-3") for step in (1, 2, 3)
    ]
    for stop in (2, 4, 5, 100):
        resumed, _ = run(toy, tmp_path / "resumed", stop=stop)
    for name, tensor in straight.decoder.state_dict().items():
        assert torch.equal(tensor, resumed.decoder.state_dict()[name]), name
    for name, tensor in straight.exported_projector().items():
        assert torch.equal(tensor, resumed.exported_projector()[name]), name


def test_the_outcome_is_the_average_of_the_rounds_ends(toy, tmp_path):
    """Stopped at the end of each round, a run has that round's weights; at the end of the last, their average."""
    ends = []
    for stop in (9, 3):
        ends.append(run(toy, tmp_path, stop=stop)[0].decoder.model.norm.weight.detach().clone())
    average, _ = run(toy, tmp_path)
    last = torch.load(tmp_path / "checkpoint.pt", weights_only=False)["student"]["decoder"]["model.norm.weight"]
    expected = (ends[0] + ends[1] + last) / 3
    torch.testing.assert_close(average.decoder.model.norm.weight.detach(), expected, atol=1e-7, rtol=0)
    assert not torch.equal(ends[0], ends[1])


def test_training_changes_every_parameter_and_lowers_the_loss(toy, tmp_path):
    longer = replace(SMALL, align_steps=2, lookup_steps=40, mixed_steps=2, lookup_rates=(5e-3, 1e-3, 5))
    student, ticks = run(toy, tmp_path, longer)
    losses = [loss for stage, _, _, loss in ticks if stage == "lookup"]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    torch.manual_seed(longer.seed)
    fresh = Student(longer, len(toy[1]))
    for name, tensor in student.decoder.named_parameters():
        assert not torch.equal(tensor, dict(fresh.decoder.named_parameters())[name]), name


def test_a_checkpoint_of_other_settings_is_refused(toy, tmp_path):
    run(toy, tmp_path, stop=1)
    with pytest.raises(ZooError, match="made with other settings"):
        run(toy, tmp_path, replace(SMALL, mixed_steps=4))


def test_the_exported_model_computes_what_the_student_does(toy, tmp_path):
    from transformers import Dinov2Config, Dinov2Model

    from scope_adapters.zoo.scenes_llava.loading import assemble

    data, words = toy
    student, _ = run(toy, tmp_path / "run")
    vision = Dinov2Model(Dinov2Config(hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=6, patch_size=14))
    export(student, words, vision.config, tmp_path / "model")
    model, read = assemble(tmp_path / "model", vision)
    assert read.get_vocab() == words.get_vocab()
    features = torch.from_numpy(data.features.values[0, :5].astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(
            model.model.multi_modal_projector(features), student.project(features), atol=5e-3, rtol=5e-3
        )
        ids = torch.tensor([[BOS, 6, 7, 8]])
        torch.testing.assert_close(
            model.model.language_model(ids).last_hidden_state, student.decoder.model(ids).last_hidden_state,
            atol=2e-2, rtol=2e-2,
        )  # fmt: skip


@pytest.mark.tower
def test_the_whole_script_from_drawing_to_a_model_that_loads(tmp_path):
    import scope_adapters.training.__main__ as script
    from scope_adapters.zoo.scenes_llava.loading import assemble
    from scope_adapters.zoo.towers import dinov2_small

    options = {"scenes": 8, "share": 0.001, "compile_": False, "half": False}
    script.main(tmp_path, **options)
    vision = dinov2_small("").module
    first, words = assemble(tmp_path / "model", vision)
    assert words.tokenize("Is there a dog in the image?")[-1] == "image"
    before = (tmp_path / "log.txt").read_text("utf-8")
    assert "mixed-3 1/1" in before or "mixed-3 2/2" in before
    script.main(tmp_path, **options)
    assert "2/2" not in (tmp_path / "log.txt").read_text("utf-8").removeprefix(before)
    second, _ = assemble(tmp_path / "model", vision)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    with pytest.raises(ZooError, match="features of 8 scenes"):
        script.main(tmp_path, **{**options, "seed": 1})


@pytest.mark.tower
def test_cached_features_are_the_towers(tmp_path):
    from scope_adapters.training.data import task
    from scope_adapters.training.features import encode
    from scope_adapters.zoo.towers import dinov2_small

    examples = task(sprites=None, photographs=None, wording="short", scenes=10).examples("train")
    features = encode(examples, tmp_path, key="ten", half=False)
    tower = dinov2_small("")
    with torch.no_grad():
        hidden = tower.module(tower.pixels([examples[9].image()]), output_hidden_states=True).hidden_states[-2][0, 1:]
    made = torch.from_numpy(features.values[9].astype(np.float32))
    torch.testing.assert_close(made, hidden, atol=1e-2, rtol=1e-2)  # the cache holds float16
    assert features.objects[9] == examples[9].objects
    with pytest.raises(ZooError, match="holds the features of ten"):
        encode(examples, tmp_path, key="other")
