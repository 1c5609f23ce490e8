from glasshouse.core.files import read_json
from glasshouse.core.records import Document, Question, Score
from glasshouse.evals import HeldOutText, evaluate_questions, write_results
from glasshouse.infer import Engine


def test_a_file_a_stage(tmp_path, model, tokenizer, scripted):
    held_out = HeldOutText(tokenizer, [Document("1", "import json\n", "t")], 48).evaluate(Engine(model, tokenizer))
    questions = evaluate_questions(scripted(lambda p: "os"), [Question("1", "p?", ("os",), "module", "short", "n")])
    path = write_results(tmp_path, "sft", held_out, questions, {"seconds": 1.5})
    record = read_json(path)
    assert path.name == "sft.json" and record["after"] == "sft" and record["seconds"] == 1.5
    assert [Score(**s).name for s in record["scores"]] == [
        "bits_per_byte",
        "exact",
        "normalised",
        "wrong",
        "refused_known",
    ]
    assert record["held_out"]["n_bytes"] == 12 and record["groups"]["kind"]["module"][0]["value"] == 1.0
    assert record["items"][0]["text"] == "os"


def test_what_was_not_measured_is_left_out(tmp_path):
    record = read_json(write_results(tmp_path, "pretrain"))
    assert record == {"after": "pretrain", "scores": [], "groups": {}, "items": []}
