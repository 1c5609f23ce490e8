from pathlib import Path

import pytest

from glasshouse.core.config import Config, dump_toml, override, parse_config, read_toml
from glasshouse.core.errors import ConfigError


class Inner(Config):
    steps: int = 10
    clip_norm: float | None = None


class Outer(Config):
    name: str
    train: Inner = Inner()
    other: Inner | None = None


def parse(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    values, text = read_toml(path)
    return parse_config(Outer, values, path, text)


def test_typo_names_file_line_and_nearest_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        parse(tmp_path, 'name = "x"\n\n[other]\nsteps = 2\n\n[train]\nstepz = 3\n')
    assert "recipe.toml:7:" in str(error.value)
    assert 'unknown key "train.stepz"' in str(error.value)
    assert 'Did you mean "steps"?' in str(error.value)


def test_typo_in_a_table_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'recipe.toml:2: unknown key "trian". Did you mean "train"'):
        parse(tmp_path, 'name = "x"\n[trian]\nsteps = 3\n')


def test_wrong_type_says_what_was_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"recipe.toml:3: .*integer.*'many'"):
        parse(tmp_path, 'name = "x"\n[train]\nsteps = "many"\n')


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        parse(tmp_path, "[train]\nstepz = 3\nclip = 1\n")
    assert len(str(error.value).splitlines()) == 3


def test_missing_file_and_broken_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such recipe"):
        read_toml(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse(tmp_path, "name = \n")


def test_configs_are_frozen(tmp_path: Path) -> None:
    config = parse(tmp_path, 'name = "x"')
    with pytest.raises(Exception, match="frozen"):
        config.name = "y"  # type: ignore[misc]


def test_override_takes_toml_values_and_leaves_the_input_alone() -> None:
    values = {"train": {"steps": 1}}
    changed = override(values, ["train.steps=10", "train.clip_norm=0.5", "name=my run", "list=[1, 2]"])
    assert changed == {"train": {"steps": 10, "clip_norm": 0.5}, "name": "my run", "list": [1, 2]}
    assert values == {"train": {"steps": 1}}
    with pytest.raises(ConfigError, match="key=value"):
        override(values, ["steps"])
    with pytest.raises(ConfigError, match="not a table"):
        override(values, ["train.steps.x=1"])


def test_dumped_toml_reads_back(tmp_path: Path) -> None:
    values = {"a": 1, "b": True, "s": 'quote " back \\ line\n', "f": 1e-5, "t": {"u": {"v": [1, 2]}, "w": "x"}, "e": {}}
    path = tmp_path / "x.toml"
    path.write_text(dump_toml(values, {"t.w": "from the command line"}))
    assert read_toml(path)[0] == values
    assert 'w = "x"  # from the command line' in path.read_text()
