"""Bits per byte of held-out pages by a checkpoint, in the words of whoever trained it: a process of vs_nanochat.py.

    python benchmarks/page_bits.py SIDE JSON  ->  one JSON line: {"bits_per_byte", "n_bytes", "n_judged_tokens", ...}

SIDE: nanochat (its load_model, from a checkout on PYTHONPATH) or transformers (AutoModelForCausalLM, AutoTokenizer).
JSON: {"pages": file, "checkpoint", "window"}.  Each page follows the token that begins a document, every one of its
tokens is scored once, and its bytes are those of its text; a page longer than the window goes on in a new one.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

N_ROWS = 32
IGNORED = -1
Loss = Callable[[Tensor, Tensor], Tensor]  # (ids_BT, targets_BT) -> nats summed over the targets that are not IGNORED


def main() -> None:
    side, asked = sys.argv[1], json.loads(sys.argv[2])
    pages: list[str] = json.loads(Path(asked["pages"]).read_text())
    loss, encoded, parameters = SIDES[side](asked["checkpoint"], pages)
    rows = [ids[k : k + asked["window"] + 1] for ids in encoded for k in range(0, len(ids) - 1, asked["window"])]
    rows.sort(key=len)
    nats = 0.0
    with torch.no_grad():
        for k in range(0, len(rows), N_ROWS):
            group = [torch.tensor(row) for row in rows[k : k + N_ROWS]]
            ids_BT = torch.nn.utils.rnn.pad_sequence([row[:-1] for row in group], batch_first=True)
            targets_BT = torch.nn.utils.rnn.pad_sequence([row[1:] for row in group], True, IGNORED)
            nats += float(loss(ids_BT, targets_BT))
    n_bytes = sum(len(page.encode()) for page in pages)
    print("\n" + json.dumps({
        "bits_per_byte": nats / math.log(2) / n_bytes, "n_bytes": n_bytes,
        "n_judged_tokens": sum(len(ids) - 1 for ids in encoded), "parameters": parameters,
    }))  # fmt: skip


def nanochat(checkpoint: str, pages: list[str]) -> tuple[Loss, list[list[int]], int]:
    from nanochat.checkpoint_manager import load_model

    model, tokenizer, _ = load_model("base", torch.device("cpu"), "eval", model_tag=checkpoint)

    def loss(ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        summed: Tensor = model(ids_BT, targets_BT, loss_reduction="sum")
        return summed

    return loss, tokenizer.encode(pages, prepend="<|bos|>"), sum(p.numel() for p in model.parameters())


def transformers(checkpoint: str, pages: list[str]) -> tuple[Loss, list[list[int]], int]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    first = tokenizer.convert_tokens_to_ids("<|endoftext|>")

    def loss(ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        logits = model(input_ids=ids_BT).logits
        return F.cross_entropy(logits.flatten(0, 1), targets_BT.flatten(), ignore_index=IGNORED, reduction="sum")

    encoded = [[first, *ids] for ids in tokenizer(pages, add_special_tokens=False)["input_ids"]]
    return loss, encoded, model.num_parameters()


SIDES = {"nanochat": nanochat, "transformers": transformers}

if __name__ == "__main__":
    main()
