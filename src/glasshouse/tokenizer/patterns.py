r"""How text is cut into pieces before tokens are learned or looked up.

A token never crosses a piece, so the pattern decides what a token can be.  The names are those that llama.cpp writes as
`tokenizer.ggml.pre`: a model trained with one of them keeps its ids there.  `tokenizers` (Onigmo) and `tiktoken`
(Rust) agree on `\p{L}`, `\p{N}`, `\s` and on case folding for all 1,112,064 code points (measured, tokenizers 0.23.3,
tiktoken 0.14.0): a test repeats it over the characters where they could part.
"""

PATTERNS: dict[str, str] = {
    # Qwen2, Qwen3: every digit alone, so that numbers are read as they are calculated; newlines stay with punctuation.
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    # Llama 3, and cl100k in another spelling: digits in threes.
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    # GPT-2: a number is one piece, contractions in lower case only.
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}

CHARACTER_PATTERN = r"[\s\S]"


def byte_alphabet() -> dict[int, str]:
    """byte -> the printable character that stands for it in tokenizer.json (GPT-2's table): 32 -> `Ġ`, 65 -> `A`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {byte: chr(byte) for byte in printable}
    hidden = [byte for byte in range(256) if byte not in alphabet]
    return alphabet | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


BYTE_TO_CHARACTER = byte_alphabet()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}


def to_alphabet(data: bytes) -> str:
    """`to_alphabet(b" the")` -> `Ġthe`."""
    return "".join(BYTE_TO_CHARACTER[byte] for byte in data)


def from_alphabet(text: str) -> bytes:
    """`from_alphabet("Ġthe")` -> `b" the"`; KeyError for a character outside the alphabet."""
    return bytes(CHARACTER_TO_BYTE[character] for character in text)
