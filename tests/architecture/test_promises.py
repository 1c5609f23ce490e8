"""The house's own rules, checked: no pickle, light start, no environment variables outside core, no machine paths."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "glasshouse"
FILES = sorted(SOURCE.rglob("*.py"))


def names_used(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imports = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imports |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return attributes | imports


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_nothing_is_unpickled(path: Path) -> None:
    forbidden = {"pickle", "pickle.load", "pickle.loads", "torch.load", "torch.save", "marshal", "shelve", "dill"}
    assert not names_used(path) & forbidden


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_environment_is_read_in_one_file(path: Path) -> None:
    if path != SOURCE / "core" / "environment.py":
        assert not names_used(path) & {"os.environ", "os.getenv"}


def test_every_folder_says_its_sentence() -> None:
    for package in SOURCE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(package.read_text())), f"{package} has no docstring"


def test_no_folder_of_odds_and_ends() -> None:
    assert not [p for p in SOURCE.rglob("*") if p.stem in {"utils", "common", "helpers"}]


@pytest.mark.parametrize("module", ["glasshouse.cli.main", "glasshouse.core", "glasshouse.report"])
def test_import_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0, f"{module} imports torch"
