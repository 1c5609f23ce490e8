import pytest

from glasshouse.checkpoint import save_checkpoint
from glasshouse.core.errors import CheckpointError
from glasshouse.core.rundir import RunDirectory
from glasshouse.infer import Engine, SamplingConfig, model_folder


@pytest.fixture
def run(tmp_path, model, tokenizer) -> RunDirectory:
    run = RunDirectory(tmp_path / "runs" / "quickstart").create()
    run.recipe_path.write_text("")
    folder = run.stage("sft") / "checkpoint"
    save_checkpoint(folder, model, tokenizer, recipe={}, cost=None, provenance={})
    return run


def test_a_run_a_stage_and_a_checkpoint_lead_to_the_same_model(run, engine, prompts):
    run.link_model(run.path / "sft" / "checkpoint")
    expected = [completion.ids for completion in engine.generate(prompts, SamplingConfig(max_tokens=8))]
    for path in (run.path, run.path / "sft", run.path / "sft" / "checkpoint", str(run.path)):
        again = Engine.load(path).generate(prompts, SamplingConfig(max_tokens=8))
        assert [completion.ids for completion in again] == expected


def test_what_is_missing_is_said(run, tmp_path):
    def fault(path) -> str:
        with pytest.raises(CheckpointError) as caught:
            model_folder(path)
        return str(caught.value)

    assert f'Did you mean "{run.path}"?' in fault(run.path.with_name("quickstat"))
    assert "no such directory" in fault(tmp_path / "no" / "such" / "place")
    assert "no finished model yet" in fault(run.path)
    run.model_path.symlink_to("gone")
    assert "leads nowhere" in fault(run.path)
    assert "is a file" in fault(run.recipe_path)
    assert "neither a run directory" in fault(tmp_path)
