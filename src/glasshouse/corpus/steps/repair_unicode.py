"""Unicode repair with `ftfy` (extra `corpus`): text once decoded with the wrong encoding ("cafÃ©" -> "café").

`ftfy` reads 0.4 to 2.3 MB/s, so it sees only lines that hold a sequence typical of such damage, and of those it changes
only what it is sure of.  Quotes, ligatures and width stay as the author wrote them.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from glasshouse.core.extras import require
from glasshouse.core.records import Document
from glasshouse.corpus.step import MapStep, Outcome, change, keep

# What the bytes 80..BF, which continue a UTF-8 character, look like when read as Latin-1 or Windows-1252.
CONTINUED = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
# First letters: Latin (C2..F4), then how E2 80 .., the bytes of dashes and quotes, look in other encodings.
SUSPECT = re.compile(f"[Â-ô][{CONTINUED}]|[\x80-\x9f]|‚Ä|Γ[Çö]|вЂ|ג€|β€|â€|�")


def repair_unicode(documents: Sequence[Document]) -> list[Outcome]:
    return [_repair_one(document) for document in documents]


def _repair_one(document: Document) -> Outcome:
    if document.text.isascii() or not SUSPECT.search(document.text):
        return keep(document)
    lines = document.text.split("\n")
    repaired = [_repair_line(line) for line in lines]
    n_changed = sum(old != new for old, new in zip(lines, repaired))
    if n_changed == 0:
        return keep(document)
    first = next(number for number, (old, new) in enumerate(zip(lines, repaired)) if old != new)
    position = sum(len(line) + 1 for line in repaired[:first])
    return change(document, "\n".join(repaired), {"lines of wrongly decoded text": n_changed}, position)


def _repair_line(line: str) -> str:
    """Long lines in parts: `ftfy` holds several copies of what it is given."""
    if line.isascii() or not SUSPECT.search(line):
        return line
    parts = [line[start : start + 10_000] for start in range(0, len(line), 10_000)]
    return "".join(_ftfy().fix_encoding(part, config=_config()) for part in parts)


@cache
def _ftfy() -> Any:
    return require("ftfy", "corpus", "unicode repair")


@cache
def _config() -> Any:
    return _ftfy().TextFixerConfig(explain=False)


REPAIR_UNICODE = MapStep("repair_unicode", repair_unicode, prepare=_ftfy)
