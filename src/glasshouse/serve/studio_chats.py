"""Conversations of the studio, kept on the server: one JSON file each, written whole or not at all.

A chat is a tree of turns.  A turn is a question and one answer a model (two when they speak side by side); asking
again, or asking differently, adds a sibling, so that nothing said is ever lost.  `head` is the turn last shown.
Two windows on one chat: each write names the revision it began from, and the later of the two is refused.
"""

import json
import re
import secrets
import threading
import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from glasshouse.core.config import Config
from glasshouse.core.errors import DataError
from glasshouse.core.files import write_text
from glasshouse.serve.errors import APIError
from glasshouse.serve.http import APIRouter

ID = re.compile(r"[0-9a-f]{16}")
MAX_TEXT = 2_000_000  # characters of one question or answer

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(max_length=300)]
TurnId = Annotated[str, Field(pattern=r"^[0-9a-z]{1,32}$")]


class Answer(Config):
    """What one model said.  No `reason` yet: it was still speaking when this was written."""

    model: Name
    text: Text = ""
    reason: Literal["stop", "length", "cancelled", "error"] | None = None
    error: Text = ""
    notice: Text = ""
    n_tokens: int | None = None
    seconds: float | None = None
    is_good: bool | None = None  # as its reader judged; what is learned from is in the store of labels
    better: Text = ""


class Turn(Config):
    id: TurnId
    parent: TurnId | None = None
    question: Text
    answers: Annotated[tuple[Answer, ...], Field(max_length=2)] = ()


class ChatSettings(Config):
    """Sampling as the page shows it; the engine checks the values when they are used.  None: left to the server."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Annotated[tuple[Name, ...], Field(max_length=16)] = ()


class ChatContent(Config):
    """What the page may change."""

    title: Name = ""
    system: Text = ""
    models: Annotated[tuple[Name, ...], Field(max_length=2)] = ()
    settings: ChatSettings = ChatSettings()
    turns: Annotated[tuple[Turn, ...], Field(max_length=10_000)] = ()
    head: TurnId | None = None


class Chat(ChatContent):
    id: str
    revision: int
    created_at: float
    updated_at: float


class ChatUpdate(ChatContent):
    revision: int  # of the chat this began from


class ChatSummary(Config):
    id: str
    title: str
    n_turns: int
    updated_at: float


class ChatStore:
    """Chats in `folder`, by id.  A damaged file is left where it is and not listed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._summaries: dict[Path, tuple[tuple[int, int], ChatSummary]] = {}

    def list(self) -> list[ChatSummary]:
        """Latest first."""
        paths = self.folder.glob("*.json") if self.folder.is_dir() else ()
        found = [summary for path in paths if ID.fullmatch(path.stem) and (summary := self._summary(path))]
        return sorted(found, key=lambda chat: -chat.updated_at)

    def create(self, content: ChatContent) -> Chat:
        now = time.time()
        chat = Chat(id=secrets.token_hex(8), revision=1, created_at=now, updated_at=now, **_fields(content))
        with self._lock:
            self._write(chat)
        return chat

    def read(self, id: str) -> Chat:
        path = self._path(id)
        try:
            return Chat.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise APIError(404, f"there is no conversation {id}; it may have been deleted in another window.") from None
        except (ValidationError, OSError) as error:
            raise DataError(f"the conversation in {path.name} cannot be read: {error}") from None

    def update(self, id: str, content: ChatUpdate) -> Chat:
        with self._lock:
            old = self.read(id)
            if content.revision != old.revision:
                raise APIError(409, "this conversation was changed in another window. Load it again to go on.")
            fields = {**_fields(content), "revision": old.revision + 1}
            chat = Chat(id=id, created_at=old.created_at, updated_at=time.time(), **fields)
            self._write(chat)
        return chat

    def delete(self, id: str) -> None:
        path = self._path(id)
        with self._lock:
            if not path.is_file():
                raise APIError(404, f"there is no conversation {id}.")
            path.unlink()

    def _path(self, id: str) -> Path:
        """Ids are sixteen hexadecimal digits, so no path leaves the folder."""
        if not ID.fullmatch(id):
            raise APIError(404, "there is no such conversation: an id is sixteen hexadecimal digits.")
        return self.folder / f"{id}.json"

    def _write(self, chat: Chat) -> None:
        write_text(self._path(chat.id), json.dumps(chat.model_dump(mode="json"), ensure_ascii=True, indent=1) + "\n")

    def _summary(self, path: Path) -> ChatSummary | None:
        """From memory where the file is as it was: a long list costs one look at each file."""
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._summaries.get(path)
            if known is None or known[0] != stamp:
                chat = self.read(path.stem)
                summary = ChatSummary(id=chat.id, title=chat.title, n_turns=len(chat.turns), updated_at=chat.updated_at)
                known = self._summaries[path] = (stamp, summary)
        except (OSError, DataError, APIError):
            return None
        return known[1]


def _fields(content: ChatContent) -> dict[str, object]:
    return {name: getattr(content, name) for name in ChatContent.model_fields}


def chat_routes(store: ChatStore) -> APIRouter:
    router = APIRouter(prefix="/studio/api/chats", include_in_schema=False)

    @router.get("")
    def list_chats() -> list[ChatSummary]:
        return store.list()

    @router.post("")
    def create_chat(content: ChatContent) -> Chat:
        return store.create(content)

    @router.get("/{id}")
    def read_chat(id: str) -> Chat:
        return store.read(id)

    @router.put("/{id}")
    def update_chat(id: str, content: ChatUpdate) -> Chat:
        return store.update(id, content)

    @router.delete("/{id}", status_code=204)
    def delete_chat(id: str) -> None:
        store.delete(id)

    return router
