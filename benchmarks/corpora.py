"""The texts of the comparisons with peers, cut and encoded once, so that every side reads the same ids.

Shakespeare's characters: the first 90 % train, as nanoGPT has it.  Novels: 50 of them train, three by authors of whom
other books may be among those are held out; a document is a page of up to 1,500 characters that ends with a sentence,
since a peer that crops documents at its context would see the beginnings of novels alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import SHARED

from glasshouse.batch import TokenShard, encode_documents, write_shard
from glasshouse.core.records import Document
from glasshouse.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer

PAGE_CHARACTERS = 1500
HELD_OUT = ("Burnett_Garden_1911", "Dickens_Oliver_1839", "Lawrence_Peacock_1911")


@dataclass(frozen=True)
class Corpus:
    """In `folder`: the tokenizer's files, train.tokens and val.tokens (shards), train.bin and val.bin (ids alone)."""

    name: str
    folder: Path
    tokenizer: Tokenizer

    def ids(self, split: str) -> NDArray[Any]:
        return TokenShard(self.folder / f"{split}.tokens", self.tokenizer.hash).ids


def shakespeare(folder: Path) -> Corpus:
    text = (SHARED / "text" / "tinyshakespeare.txt").read_text()
    cut = int(0.9 * len(text))
    tokenizer = train_tokenizer([text], TokenizerConfig(kind="char"))
    return _written("shakespeare", folder, tokenizer, [Document("train", text[:cut], "")],
                    [Document("val", text[cut:], "")])  # fmt: skip


def novels(folder: Path, vocab_size: int) -> Corpus:
    train, held_out = pages(is_held_out=False), pages(is_held_out=True)
    tokenizer = train_tokenizer((page.text for page in train), TokenizerConfig(vocab_size=vocab_size))
    return _written("novels", folder, tokenizer, train, held_out)


def pages(*, is_held_out: bool) -> list[Document]:
    paths = sorted((SHARED / "text" / "novels").glob("*.txt"))
    chosen = [path for path in paths if (path.stem in HELD_OUT) == is_held_out]
    return [
        Document(f"{path.stem}/{number}", page, path.name)
        for path in chosen
        for number, page in enumerate(_pages_of(path.read_text(encoding="utf-8-sig", errors="replace")))
    ]


def _pages_of(text: str) -> Iterator[str]:
    paragraphs = (re.sub(r"\s+", " ", block).strip() for block in re.split(r"\n\s*\n", text))
    text, start = "\n".join(filter(None, paragraphs)), 0
    while start < len(text):
        page = text[start : start + PAGE_CHARACTERS]
        if start + PAGE_CHARACTERS < len(text):
            page = page[: max(page.rfind("\n"), page.rfind(". ") + 1) or None]
        start += len(page)
        yield page.strip()


def _written(name: str, folder: Path, tokenizer: Tokenizer, train: list[Document], val: list[Document]) -> Corpus:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder)
    for split, documents in (("train", train), ("val", val)):
        shard = write_shard(folder / f"{split}.tokens", encode_documents(documents, tokenizer), tokenizer)
        shard.ids.astype(np.uint16).tofile(folder / f"{split}.bin")
    return Corpus(name, folder, tokenizer)
