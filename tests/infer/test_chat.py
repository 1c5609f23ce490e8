import pytest

from glasshouse.core.errors import ConfigError
from glasshouse.core.records import Message
from glasshouse.infer import ChatSession, Engine, SamplingConfig, chat_ids
from glasshouse.tokenizer import Tokenizer

SHORT = SamplingConfig(max_tokens=4, temperature=1, seed=1)


def test_the_prompt_is_the_templates(tokenizer):
    messages = [Message("system", "be"), Message("user", "def")]
    ids = chat_ids(tokenizer, messages)
    assert ids == tokenizer.template.encode(tokenizer, messages, adds_generation_prompt=True).ids
    assert (
        tokenizer.decode(ids)
        == "<|im_start|>system\nbe<|im_end|>\n<|im_start|>user\ndef<|im_end|>\n<|im_start|>assistant\n"
    )


def test_answers_are_streamed_and_remembered(engine):
    session = ChatSession(engine, SHORT, system="s")
    turn = session.send("def")
    assert turn.notice is None and turn.completion is None
    text = "".join(d.text for d in turn)
    assert turn.completion.text == text and turn.completion.finish_reason == "length"
    assert session.messages == (Message("system", "s"), Message("user", "def"), Message("assistant", text))
    [alone] = engine.generate([chat_ids(engine.tokenizer, session.messages[:2])], SHORT)
    assert alone.ids == turn.completion.ids
    session.reset()
    assert session.messages == (Message("system", "s"),)


def test_later_turns_see_earlier_ones(engine):
    session = ChatSession(engine, SHORT)
    session.send("a").text()
    second = session.send("b")
    assert second.n_prompt_tokens == len(chat_ids(engine.tokenizer, [*session.messages, Message("user", "b")]))


def test_oldest_turns_are_left_out_and_it_is_said(engine):
    session = ChatSession(engine, SHORT, system="be")
    notices = []
    for _ in range(8):
        turn = session.send("def f")
        turn.text()
        notices.append(turn.notice)
        assert turn.n_prompt_tokens + SHORT.max_tokens - 1 <= engine.max_seq_len
    assert notices[0] is None and "oldest turn no longer fit" in next(filter(None, notices))
    assert "64 tokens" in notices[-1]
    assert len(session.messages) == 17  # the history itself is whole


def test_a_message_longer_than_the_context_is_refused(engine):
    session = ChatSession(engine, SHORT)
    with pytest.raises(ConfigError, match="context is 64"):
        session.send("word " * 100)
    assert session.messages == ()


def test_a_message_that_fits_alone_may_take_the_room_for_the_answer(engine):
    session = ChatSession(engine, SamplingConfig(max_tokens=50))
    text = next(t for n in range(60) if len(chat_ids(engine.tokenizer, [Message("user", t := "x" * n)])) == 62)
    turn = session.send(text)
    turn.text()
    assert len(turn.completion.ids) <= 3


def test_a_broken_off_answer_stays_as_far_as_it_came(engine):
    session = ChatSession(engine, SHORT)
    deltas = iter(session.send("def"))
    first = next(deltas)
    deltas.close()
    assert session.messages == (Message("user", "def"), Message("assistant", first.text))


def test_a_model_without_template_is_refused_before_anything_is_typed(model, tokenizer):
    bare = Tokenizer(tokenizer.backend.to_str(), {"eos_token": "<|endoftext|>"})
    with pytest.raises(ConfigError, match="no chat template"):
        ChatSession(Engine(model, bare), SHORT)
