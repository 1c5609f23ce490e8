import json
import math

import pytest
import torch
from judged import place, preferences, write_parent

from glasshouse.align.reward_model import RewardModel
from glasshouse.align.reward_quality import judge_reward_model, quality_of
from glasshouse.align.reward_training import RewardTrainingConfig, train_reward_model
from glasshouse.checkpoint import load_model, load_scorer
from glasshouse.core.errors import CheckpointError, DataError
from glasshouse.core.records import Conversation, Message, Ranking
from glasshouse.optim import OptimConfig

FAST = OptimConfig(matrices="adamw", matrix_lr=1e-2, embedding_lr=1e-2, head_lr=1e-2, vector_lr=1e-2)


def config_of(**options):
    return RewardTrainingConfig(**{"epochs": 3, "batch_tokens": 400, "optim": FAST, **options})


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return write_parent(tmp_path_factory.mktemp("parent") / "checkpoint")


@pytest.fixture(scope="module")
def trained(parent, tmp_path_factory):
    where = place(tmp_path_factory.mktemp("run"), "reward")
    train_reward_model(parent, preferences(), config_of(curve=(0.5,)), **where)
    return where["folder"]


def exchange(prompt, answer):
    return Conversation((Message("user", prompt), Message("assistant", answer)))


def test_it_ranks_unseen_answers_as_people_did(trained):
    told = json.loads((trained / "reward.json").read_text())
    assert (told["n_trained"], told["n_held_out"]) == (36, 4)
    assert [point["n_trained"] for point in told["learning_curve"]] == [18, 36]
    assert told["quality"]["accuracy"]["value"] == 1.0 and told["quality"]["accuracy"]["low"] > 0.5
    good, bad = RewardModel.load(trained).score([exchange("ad?", "abcd"), exchange("ad?", "efgh")])
    assert good > bad + 1


def test_transformers_gives_the_same_scores(trained):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    theirs = AutoModelForSequenceClassification.from_pretrained(trained / "checkpoint")
    their_tokenizer = AutoTokenizer.from_pretrained(trained / "checkpoint")
    conversations = [exchange("a?", "bcd"), exchange("hhh?", "e"), exchange("b?", "ab" * 9)]
    ours = RewardModel.load(trained).score(conversations)
    for conversation, score in zip(conversations, ours):
        messages = [{"role": m.role, "content": m.content} for m in conversation.messages]
        text = their_tokenizer.apply_chat_template(messages, tokenize=False)
        ids = their_tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            assert theirs(input_ids=ids).logits.item() == pytest.approx(score, abs=1e-4)


def test_a_batch_scores_as_one_by_one(trained):
    model = RewardModel.load(trained)
    conversations = [exchange("a?", "abcdefgh"[: 1 + i]) for i in range(8)]
    together = model.score(conversations)
    assert together == pytest.approx([model.score([c])[0] for c in conversations], abs=1e-5)
    too_long = [exchange("abcd" * 30, "a"), exchange("zz" + "abcd" * 30, "a")]
    first, second = model.score(too_long)
    assert first == pytest.approx(second, abs=1e-6)  # what was cut away made no difference


def test_rankings_train_it_too(parent, tmp_path):
    rankings = [Ranking(p.prompt, (p.rejected, p.chosen, p.rejected + "ab"), (3, 1, 2), p.id) for p in preferences(24)]
    where = place(tmp_path, "reward")
    result = train_reward_model(parent, rankings, config_of(), **where)
    assert result.evaluation["eval/accuracy"] > 0.6
    assert json.loads((where["folder"] / "reward.json").read_text())["quality"]["accuracy"]["count"] == 6  # 3 a ranking


def test_what_is_no_answer_is_refused(trained):
    with pytest.raises(DataError, match="does not end with the assistant's answer"):
        RewardModel.load(trained).score([Conversation((Message("user", "a?"),), "c1")])


def test_a_reward_model_of_another_tokenizer_is_refused(trained, parent, tmp_path):
    model = RewardModel.load(trained)
    model.check_tokenizer(load_model(parent)[1])
    other = load_model(write_parent(tmp_path / "other", letters="xyz?"))[1]
    with pytest.raises(CheckpointError, match="this reward model belongs to tokenizer"):
        model.check_tokenizer(other)
    import shutil

    swapped = shutil.copytree(trained / "checkpoint", tmp_path / "swapped")
    shutil.copy(tmp_path / "other" / "tokenizer.json", swapped / "tokenizer.json")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        RewardModel.load(swapped)


def test_models_that_write_and_models_that_judge_are_told_apart(trained, parent):
    with pytest.raises(CheckpointError, match="this is a reward model: it scores answers and writes none"):
        load_model(trained / "checkpoint")
    with pytest.raises(CheckpointError, match="not a reward model's"):
        load_scorer(parent)


def test_quality_by_hand():
    """Odds of 3 to 1 that come true three times in four are calibrated."""
    three = math.log(3)
    quality = quality_of([three, three, three, -three])
    assert quality.accuracy.value == 0.75 and quality.expected_calibration_error == pytest.approx(0)
    (bin,) = quality.reliability
    assert (bin.n_pairs, bin.confidence, bin.accuracy) == (4, pytest.approx(0.75), 0.75)
    assert quality.log_loss == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    sure = quality_of([50.0, -50.0])
    assert sure.expected_calibration_error == pytest.approx(0.5) and sure.accuracy.value == 0.5
    assert quality_of([0.0]).accuracy.value == 0  # equal scores are no right answer


def test_quality_counts_every_pair_of_a_ranking(trained):
    ranking = Ranking((Message("user", "ab?"),), ("abcd", "efgh", "ab"), (1, 2, 1))
    assert judge_reward_model(RewardModel.load(trained), [ranking]).accuracy.count == 2
