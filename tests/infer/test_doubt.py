"""What a model is not sure of it does not say, streamed or not, and the tokens stay what they were."""

import math
from pathlib import Path

import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import ConfigError
from glasshouse.core.files import write_json
from glasshouse.infer import ChatSession, Doubt, Engine, SamplingConfig, write_doubt
from glasshouse.infer.doubt import FILE, read_doubt
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer

PLAIN = SamplingConfig(max_tokens=6)
SURE, UNSURE = Doubt(below=1e-300, says="Not sure."), Doubt(below=0.999, says="Not sure.")


def doubting(doubt: Doubt) -> SamplingConfig:
    return PLAIN.model_copy(update={"doubt": doubt})


def test_a_likely_answer_is_given_as_it_is_and_an_unlikely_one_gives_way(engine: Engine, prompts) -> None:
    plain, sure, unsure = (engine.generate(prompts, s) for s in (PLAIN, doubting(SURE), doubting(UNSURE)))
    told = [(c.text, c.ids, c.logps, c.withheld) for c in plain]  # how much was cached depends on who asked before
    assert [(c.text, c.ids, c.logps, c.withheld) for c in sure] == told
    assert {c.text for c in unsure} == {"Not sure."}
    assert [c.withheld for c in unsure] == [c.text for c in plain]
    assert [(c.ids, c.logps, c.finish_reason) for c in unsure] == [(c.ids, c.logps, c.finish_reason) for c in plain]


def test_it_is_held_until_it_is_whole_and_streams_the_same(engine: Engine, prompts) -> None:
    for doubt, said in ((SURE, None), (UNSURE, "Not sure.")):
        deltas = list(engine.stream(prompts[0], doubting(doubt)))
        [whole] = engine.generate([prompts[0]], doubting(doubt))
        assert [d.text for d in deltas[:-1]] == [""] * (len(deltas) - 1)
        assert deltas[-1].text == whole.text == (said or whole.text)


def test_the_threshold_is_the_probability_of_the_whole_answer(engine: Engine, prompts) -> None:
    [plain] = engine.generate([prompts[0]], PLAIN)
    p = math.exp(sum(plain.logps))
    for below, is_held in ((p * 0.99, False), (p * 1.01, True)):
        [completion] = engine.generate([prompts[0]], doubting(Doubt(below=below, says="?")))
        assert (completion.withheld is not None) == is_held


def test_who_says_that_they_do_not_know_need_not_be_sure() -> None:
    doubt = Doubt(below=0.5, says="?", spares="I do not know")
    assert doubt.holds_back("It is in os.", -1.0) and not doubt.holds_back("`x`: I do not know of it.", -1.0)
    assert not doubt.holds_back("It is in os.", -0.5)


def test_a_conversation_goes_by_the_models_own_doubt(model: Transformer, tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "m", model, tokenizer, recipe={}, cost=None, provenance={})
    assert read_doubt(folder) is None and Engine.load(folder).in_conversation(PLAIN) == PLAIN
    write_doubt(folder, UNSURE, {"right": 100})
    engine = Engine.load(folder)
    assert engine.in_conversation(PLAIN).doubt == UNSURE
    assert engine.in_conversation(doubting(SURE)).doubt == SURE  # what was asked for comes first
    assert ChatSession(engine, PLAIN).send("def").text() == "Not sure."
    raw = ChatSession(engine, PLAIN, doubts=False).send("def").text()
    assert raw == ChatSession(Engine(model, tokenizer), PLAIN).send("def").text()


def test_a_faulty_doubt_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / FILE, {"doubt": {"below": 1.5, "says": "?"}, "measured": {}})
    with pytest.raises(ConfigError, match="below"):
        read_doubt(tmp_path)
