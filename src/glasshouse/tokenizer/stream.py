"""Ids to text as they come, holding back what is not yet a whole character."""

import codecs

from tokenizers.decoders import DecodeStream

from glasshouse.tokenizer.tokenizer import Tokenizer


class IncrementalDecoder:
    """`push(id)` gives the text that became certain, `finish()` the rest.  Together: `Tokenizer.decode` of all ids."""

    def __init__(self, tokenizer: Tokenizer, *, skips_special: bool = True) -> None:
        self._tokenizer, self._skips_special = tokenizer, skips_special
        self._hidden = set(tokenizer.special_ids.values()) - {tokenizer.unknown_id} if skips_special else set()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        # A SentencePiece decoder looks at neighbours (the first space goes), so its own stream has to be asked.
        self._stream = None if tokenizer.is_context_free else DecodeStream(skip_special_tokens=False)
        self._ids: list[int] = []
        self._n_given = 0

    def push(self, id: int) -> str:
        data = self._tokenizer.token_bytes(id)  # also refuses an id of another vocabulary
        if id in self._hidden:
            return ""
        if self._stream is None:
            return self._utf8.decode(data)
        self._ids.append(id)
        text = self._stream.step(self._tokenizer.backend, id) or ""
        self._n_given += len(text)
        return text

    def finish(self) -> str:
        """What was held back: U+FFFD for each character that never became whole."""
        if self._stream is None:
            return self._utf8.decode(b"", final=True)
        return self._tokenizer.decode(self._ids)[self._n_given :]
