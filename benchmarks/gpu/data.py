"""The text of both learners: ../shared/data/text as token shards, one document in 20 held out.

python benchmarks/gpu/data.py .gpu      a minute; before the machine with the GPU, which needs `.gpu` alone
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from record import SHARED

from glasshouse.batch import encode_documents, write_shard
from glasshouse.core.records import Document
from glasshouse.tokenizer import TokenizerConfig, train_tokenizer

VOCAB_SIZE = 8192
HELD_OUT_EVERY = 20


def documents() -> Iterator[Document]:
    """Novels, PEPs, stories, encyclopedia and programs, each file or record a document."""
    text = SHARED / "text"
    for path in [*sorted((text / "novels").glob("*.txt")), *sorted((text / "peps").glob("*.rst"))]:
        yield Document(path.name, path.read_text(encoding="utf-8-sig", errors="replace"), path.name)
    stories = (text / "tinystories.txt").read_text().split("\n\n")
    for number in range(0, len(stories), 50):
        yield Document(f"stories/{number}", "\n\n".join(stories[number : number + 50]), "tinystories.txt")
    for line in (text / "algorithms-python.jsonl").read_text().splitlines():
        record = json.loads(line)
        yield Document(record["path"], record["text"], "algorithms-python.jsonl")
    yield Document("wikitext", (text / "wikitext2-valid.txt").read_text(), "wikitext2-valid.txt")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[Document]] = {"train": [], "held_out": []}
    for number, document in enumerate(documents()):
        parts["held_out" if number % HELD_OUT_EVERY == HELD_OUT_EVERY - 1 else "train"].append(document)
    tokenizer = train_tokenizer((d.text for d in parts["train"]), TokenizerConfig(vocab_size=VOCAB_SIZE))
    tokenizer.save(folder)
    for name, part in parts.items():
        shard = write_shard(folder / f"{name}.tokens", encode_documents(part, tokenizer), tokenizer)
        print(f"{name}: {len(part)} documents, {shard.n_tokens:,} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
