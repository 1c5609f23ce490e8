"""The Python standard library as text: its sources, docstrings and reference topics, for the running interpreter.

Every machine that runs Glasshouse has this corpus, so the quickstart needs no download.  Modules are imported only to
be looked at: rules below leave out whatever opens windows, prints, or belongs to tests, and imports run with output and
warnings swallowed.  A part that a distribution splits off (Debian: tkinter, idlelib, ensurepip) is simply not there.

Left out: third-party packages; C sources of compiled modules (only their docstrings are read); generated tables.
"""

import importlib
import inspect
import io
import pkgutil
import re
import sys
import sysconfig
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType

from glasshouse.core.records import Document

# Each with its reason: a module here is neither read nor imported.
SKIPPED_MODULES = {
    "antigravity": "opens a web browser on import",
    "this": "prints on import",
    "tkinter": "needs a display",
    "turtle": "needs a display",
    "turtledemo": "needs a display",
    "idlelib": "an application, needs a display",
    "test": "tests",
    "lib2to3": "deprecated, half of it grammar tests",
    "distutils": "gone in 3.12; elsewhere replaced on import by setuptools",
    "ensurepip": "carries a bundled copy of pip",
    "encodings": "generated tables",
    "pydoc_data": "one generated table, read as reference topics instead",
    "msilib": "generated tables",
    "posix": "os under another name",
    "nt": "os under another name",
    "posixpath": "os.path under another name",
    "ntpath": "os.path under another name",
    "genericpath": "os.path under another name",
}
SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib-dynload"}
SKIPPED_FILES = {"sre_compile.py", "sre_constants.py", "sre_parse.py"}  # three-line stand-ins


def is_public(module: str) -> bool:
    """Whether the rules let a module be imported: `json.decoder` yes; `_json`, `test.support`, `this` no."""
    parts = module.split(".")
    is_private = any(part.startswith("_") or part in SKIPPED_FOLDERS for part in parts)
    return not is_private and parts[0] not in SKIPPED_MODULES


def import_quietly(module: str) -> ModuleType | None:
    """The module, or None where this platform or distribution lacks it.  Nothing is printed and no warning shown."""
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except (Exception, SystemExit):  # a module for another platform may fail in any way at all
        return None


def public_modules() -> list[tuple[str, ModuleType]]:
    """Every importable public module of the standard library, by name: `[("abc", <module>), ...]`."""
    found: list[tuple[str, ModuleType]] = []
    waiting = [name for name in sys.stdlib_module_names if is_public(name)]
    while waiting:
        name = waiting.pop()
        module = import_quietly(name)
        if module is None:
            continue
        found.append((name, module))
        children = (f"{name}.{child.name}" for child in pkgutil.iter_modules(getattr(module, "__path__", ())))
        waiting.extend(child for child in children if is_public(child))
    if any(name == "os" for name, _ in found):
        found.append(("os.path", importlib.import_module("os.path")))  # a plain module, under a dotted name by design
    return sorted(found, key=lambda pair: pair[0])


def public_members(name: str, module: ModuleType) -> Iterator[tuple[str, object]]:
    """Public functions and classes of a module, by name: what `__all__` lists, else what was defined there."""
    listed = getattr(module, "__all__", None)
    for key in sorted(set(listed if listed is not None else vars(module))):
        value = getattr(module, key, None)
        if key.startswith("_") or not (inspect.isroutine(value) or inspect.isclass(value)):
            continue
        if listed is not None or getattr(value, "__module__", None) in (name, f"_{name}"):
            yield key, value


def own_docstring(value: object) -> str | None:
    """The docstring written for this very object, cleaned; None if there is none or it is inherited."""
    text = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    return inspect.cleandoc(text) if isinstance(text, str) and text.strip() else None


def signature_text(value: object) -> str | None:
    """`(src, dst, *, follow_symlinks=True)`, without annotations; None where it is unknown or says nothing.

    Defaults without a literal form (`<object at 0x...>`, paths of this machine) make it None: they would differ by run.
    """
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    is_empty_form = text in ("(*args, **kwargs)", "(*args, **kwds)", "(*args, **kw)", "(/, *args, **kwargs)")
    return None if is_empty_form or re.search(r"<| at 0x|['\"]/\w", text) else text


def stdlib_documents() -> Iterator[Document]:
    """Sources, then docstrings, then reference topics; each part in order of name, the same on every run."""
    yield from source_documents()
    yield from docstring_documents()
    yield from topic_documents()


def source_documents(root: Path | None = None) -> Iterator[Document]:
    """One document a source file under `root` (by default this interpreter's library), tests left out by rule."""
    root = root or Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        folders = relative.parts[:-1]
        is_skipped = any(folder in SKIPPED_FOLDERS or folder.startswith("config-") for folder in folders)
        if is_skipped or relative.name in SKIPPED_FILES or relative.with_suffix("").parts[0] in SKIPPED_MODULES:
            continue
        if relative.name.startswith("_sysconfigdata"):
            continue  # the compiler's flags on this machine
        try:
            with tokenize.open(path) as file:  # honours the encoding line
                text = file.read()
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue
        if text.strip():
            name = relative.as_posix()
            yield Document(f"stdlib/source/{name}", text, f"stdlib:{name}", meta=_meta("source", name))


def docstring_documents() -> Iterator[Document]:
    """One document a module: its docstring, then each public member as `module.name(signature)` and its docstring."""
    for name, module in public_modules():
        pieces = [f"{name}\n\n{doc}"] if (doc := own_docstring(module)) else []
        for key, value in public_members(name, module):
            if doc := own_docstring(value):
                pieces.append(f"{name}.{key}{signature_text(value) or ''}\n\n{doc}")
        if pieces:
            text = "\n\n\n".join(pieces) + "\n"
            yield Document(f"stdlib/docstrings/{name}", text, f"stdlib:{name}", meta=_meta("docstrings", name))


def topic_documents() -> Iterator[Document]:
    """One document a language reference topic (`help("LAMBDAS")`); none where the distribution leaves them out."""
    module = import_quietly("pydoc_data.topics")
    for name, text in sorted(getattr(module, "topics", {}).items()):
        yield Document(f"stdlib/topics/{name}", text, f"stdlib:pydoc_data.topics:{name}", meta=_meta("topics", name))


def _meta(part: str, name: str) -> dict[str, str]:
    """`family`: what says the same twice, a module's source and its docstrings, is held out together or not at all."""
    top = re.split(r"[./]", name)[0]
    return {"part": part, "family": f"stdlib/{part}/{name}" if part == "topics" else f"stdlib/{top}"}
