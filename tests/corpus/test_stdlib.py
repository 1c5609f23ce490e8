"""The standard library as text: what is left out, what is safe, what is the same on every run."""

import collections
import subprocess
import sys
from pathlib import Path

from glasshouse.corpus import stdlib
from glasshouse.corpus.build import is_held_out


def test_rules_say_what_may_be_imported() -> None:
    assert stdlib.is_public("json.decoder")
    refused = ["_json", "this", "antigravity", "tkinter.ttk", "unittest.__main__", "test.support", "idlelib.run"]
    assert not any(stdlib.is_public(name) for name in refused)


def test_modules_are_found_by_name_once_and_in_order() -> None:
    names = [name for name, _ in stdlib.public_modules()]
    assert names == sorted(set(names))
    assert {"json", "os.path", "urllib.parse", "xml.etree.ElementTree", "concurrent.futures"} <= set(names)
    assert all(stdlib.is_public(name) for name in names)


def test_introspection_prints_nothing_and_opens_nothing() -> None:
    code = (
        "import sys; from glasshouse.corpus.stdlib import docstring_documents; list(docstring_documents());"
        "bad = {'antigravity', 'this', 'tkinter', 'turtle', 'idlelib', 'ensurepip'} & set(sys.modules);"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_module_that_cannot_be_imported_is_none() -> None:
    assert stdlib.import_quietly("no_such_module_at_all") is None


def test_documents_have_distinct_ids_known_sources_and_text() -> None:
    documents = list(stdlib.stdlib_documents())
    assert len({document.id for document in documents}) == len(documents)
    assert all(document.text.strip() and document.source.startswith("stdlib:") for document in documents)
    parts = collections.Counter(document.meta["part"] for document in documents)
    assert parts["source"] > 200 and parts["docstrings"] > 150
    assert not any(str(Path.home()) in document.source for document in documents)


def test_a_module_is_held_out_with_its_docstrings_or_not_at_all() -> None:
    """Every word of these is in its source: held out alone they would be text that was trained on."""
    found: dict[str, set[bool]] = {}
    for document in stdlib.stdlib_documents():
        if document.meta["part"] != "topics":
            module = document.id.split("/", 2)[2].removesuffix(".py").replace("/", ".").split(".")[0]
            found.setdefault(module, set()).add(is_held_out(document.meta["family"], 0.02))
    assert all(len(splits) == 1 for splits in found.values()) and {True} in found.values()


def test_documents_are_the_same_on_every_run() -> None:
    def digest() -> list[tuple[str, int]]:
        return [(document.id, len(document.text)) for document in stdlib.stdlib_documents()]

    assert digest() == digest()


def test_sources_leave_out_tests_packages_and_unreadable_files(tmp_path: Path) -> None:
    def write(name: str, data: bytes) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    write("good.py", b"x = 1\n")
    write("latin.py", b"# -*- coding: latin-1 -*-\n# caf\xe9\n")
    write("folder/also.py", b"y = 2\n")
    for name in ("test/a.py", "folder/tests/b.py", "site-packages/c.py", "idlelib/d.py", "__pycache__/e.py", "this.py"):
        write(name, b"z = 3\n")
    write("broken.py", b"\xff\xfe not utf-8\n")
    write("empty.py", b"\n")
    found = {document.source: document.text for document in stdlib.source_documents(tmp_path)}
    assert set(found) == {"stdlib:good.py", "stdlib:latin.py", "stdlib:folder/also.py"}
    assert "café" in found["stdlib:latin.py"]


def test_docstrings_are_ones_own() -> None:
    class Parent:
        """Written for the parent."""

    class Child(Parent):
        pass

    assert stdlib.own_docstring(Parent) == "Written for the parent."
    assert stdlib.own_docstring(Child) is None


def test_signatures_hold_nothing_that_differs_by_run_or_machine() -> None:
    def plain(src: str, dst: str = "x", *, deep: bool = True) -> int:
        return 0

    marker = object()

    def address(value: object = marker) -> None: ...
    def path(folder: str = "/usr/lib") -> None: ...
    def anything(*args: object, **kwargs: object) -> None: ...

    assert stdlib.signature_text(plain) == "(src, dst='x', *, deep=True)"
    assert [stdlib.signature_text(value) for value in (address, path, anything, 3)] == [None] * 4


def test_topics_may_be_missing(monkeypatch) -> None:
    monkeypatch.setattr(stdlib, "import_quietly", lambda module: None)
    assert list(stdlib.topic_documents()) == []
