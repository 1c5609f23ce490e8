"""Task files: what they hold, and the faults they may have."""

import json

import pytest

from glasshouse.core.errors import ConfigError, DataError
from glasshouse.evals import load_tasks, suite_names
from glasshouse.evals.task import SUITES

CHOICE = """name = "quiz"
prompt = "{q}"

[data]
path = "quiz.jsonl"

[choices]
field = "options"
right = "{right}"
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="quiz.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    (tmp_path / "quiz.jsonl").write_text('{"q": "1+1?", "options": [" 1", " 2"], "right": 1}\n')
    return write


def test_a_task_is_read(write, tmp_path):
    [task] = load_tasks(write(CHOICE))
    assert task.name == "quiz" and task.config.kind == "choices" and task.root == tmp_path
    assert task.config.metric_names == ("accuracy", "accuracy_per_token", "accuracy_per_byte")
    assert task.records() == [{"file": "quiz", "q": "1+1?", "options": [" 1", " 2"], "right": 1}]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('path = "quiz.jsonl"', 'pth = "quiz.jsonl"', 5, 'unknown key "data.pth". Did you mean "path"'),
        ('prompt = "{q}"', 'promt = "{q}"', 2, 'unknown key "promt". Did you mean "prompt"'),
        ("[choices]", "[choises]", 7, 'unknown key "choises". Did you mean "choices"'),
        ('name = "quiz"', 'name = "../quiz"', 1, '"name"'),
    ],
)  # fmt: skip
def test_a_misspelt_key_is_told_with_its_line(write, old, new, line, message):
    path = write(CHOICE.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load_tasks(path)
    assert f"{path}:{line}: " in str(error.value) and message in str(error.value)


def test_a_misspelt_key_in_a_suite_is_told_with_its_line(write):
    text = CHOICE.replace("[data]", "[task.data]").replace("[choices]", "[task.choices]")
    second = text.replace('"quiz"', '"quiz2"').replace("field", "feild")
    path = write(f"[[task]]\n{text}\n[[task]]\n{second}", "suite.toml")
    with pytest.raises(ConfigError, match=r'unknown key "choices\.feild"\. Did you mean "field"') as error:
        load_tasks(path)
    assert f"{path}:{second.splitlines().index('feild = ' + chr(34) + 'options' + chr(34)) + 13}: " in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[choices]", '[pairs]\ngood = "a"\nbad = "b"\n[choices]'), "exactly one of the tables"),
        (('prompt = "{q}"', 'prompt = "{q}"\nsystem = "Be brief."'), "needs chat = true"),
        (('prompt = "{q}"', 'prompt = "{q}"\nmetrics = ["acuracy"]'), 'Did you mean "accuracy"'),
        (('prompt = "{q}"', 'prompt = "{q}"\ncontrols = ["shuffled"]'), "controls"),
        (('path = "quiz.jsonl"', ""), 'either "path" or "lines"'),
        (('path = "quiz.jsonl"', 'path = "quiz.jsonl"\nlines = {a = "b"}'), 'either "path" or "lines"'),
    ],
)  # fmt: skip
def test_what_does_not_go_together(write, change, message):
    with pytest.raises(ConfigError, match=message):
        load_tasks(write(CHOICE.replace(*change)))


def test_whole_texts_have_no_prompt_and_no_controls(write):
    text = '{}\nname = "t"\ndata = {{ path = "quiz.jsonl" }}\n[text]\ntext = "{{q}}"\n'
    with pytest.raises(ConfigError, match="whole texts have none"):
        load_tasks(write(text.format('prompt = "x"')))
    with pytest.raises(ConfigError, match="controls belong to choices and answers"):
        load_tasks(write(text.format('controls = ["empty_question"]')))


def test_an_answer_needs_a_question(write):
    text = CHOICE.partition("[choices]")[0] + '[answers]\nscorers = ["exact"]\nright = "{right}"\n'
    with pytest.raises(ConfigError, match='"prompt" is missing'):
        load_tasks(write(text.replace('prompt = "{q}"', "")))


def test_a_misspelt_scorer(write):
    text = CHOICE.partition("[choices]")[0] + '[answers]\nscorers = ["exat"]\nright = "{right}"\n'
    with pytest.raises(ConfigError, match='Did you mean "exact"'):
        load_tasks(write(text))


def test_no_such_task():
    with pytest.raises(ConfigError, match='Did you mean "language"'):
        load_tasks("langage")


def test_two_tasks_of_one_name(write):
    text = "[[task]]\n" + CHOICE.replace("[data]", "[task.data]").replace("[choices]", "[task.choices]")
    with pytest.raises(ConfigError, match="two tasks have one name: quiz"):
        load_tasks(write(text + text, "suite.toml"))


def test_the_hash_is_of_settings_and_contents_not_of_words_about_them(write, tmp_path):
    first = load_tasks(write(CHOICE))[0].hash
    assert load_tasks(write('about = "x"\n' + CHOICE))[0].hash == first
    assert load_tasks(write("seed = 1\n" + CHOICE))[0].hash != first
    assert load_tasks(tmp_path / "quiz.toml")[0].limited(1).hash != first
    (tmp_path / "quiz.jsonl").write_text('{"q": "1+2?", "options": [" 1", " 3"], "right": 1}\n')
    assert load_tasks(write(CHOICE))[0].hash != first


def test_only_records_with_a_value(write, tmp_path):
    lines = [{"q": str(i), "options": ["a", "b"], "right": 0, "set": "dev" if i else "test"} for i in range(3)]
    (tmp_path / "quiz.jsonl").write_text("\n".join(map(json.dumps, lines)))
    [task] = load_tasks(write(CHOICE.replace('path = "quiz.jsonl"', 'path = "quiz.jsonl"\nwhere = { set = "dev" }')))
    assert [r["q"] for r in task.records()] == ["1", "2"]


def test_a_file_of_questions_is_a_task(tmp_path):
    path = tmp_path / "my questions.jsonl"
    path.write_text('{"id": "1", "prompt": "Who?", "answers": ["me"]}\n')
    [task] = load_tasks(path)
    assert task.name == "my-questions" and task.config.chat and task.config.answers.field == "answers"
    path.write_text('{"id": "1", "prompt": "Who?", "answer": ["me"]}\n')
    with pytest.raises(DataError, match='unknown field "answer"'):
        load_tasks(path)


def test_every_suite_that_comes_with_us_is_sound():
    assert {"code", "knowledge", "language", "sentiment", "summaries", "translation"} <= set(suite_names())
    for name in suite_names():
        assert load_tasks(name)
        assert "/work" not in (SUITES / f"{name}.toml").read_text()


def test_suites_ask_for_data_they_do_not_have(tmp_path):
    [task] = load_tasks("language", tmp_path)
    with pytest.raises(DataError, match="--data FOLDER"):
        task.records()
