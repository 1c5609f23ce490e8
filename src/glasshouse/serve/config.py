"""What the server serves, to whom, and within which limits."""

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field

from glasshouse.core.config import Config

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class ServeConfig(Config):
    """`glass serve` fills it from its options.  Times in seconds."""

    models: tuple[str, ...] = ()  # runs or checkpoint folders; each is served under its folder's name
    host: str = "127.0.0.1"  # anything but loopback asks every request for an API key
    port: int = Field(default=8000, ge=0, le=65535)  # 0 takes a free one
    requires_keys: bool | None = None  # None: exactly where the host is not loopback
    keys_folder: Path = Path.home() / ".config" / "glasshouse" / "keys"
    allowed_hosts: tuple[str, ...] = ()  # names this server answers to besides its own; "*" any
    allowed_origins: tuple[str, ...] = ()  # other sites whose pages may call it, such as "https://tools.example"

    moderation: str | None = None  # a moderator (`glass moderation train`): what it blocks is neither read nor said

    weights: Literal["fp32", "bf16", "int8", "int4"] | None = None
    speculate: str | None = None  # "prompt-lookup", or the name of a smaller model with the same tokenizer
    memory_bytes: int | None = None
    max_running: int = Field(default=64, ge=1)
    max_waiting: int = Field(default=256, ge=1)  # choices waiting for their first step; beyond: 429

    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    max_choices: int = Field(default=128, ge=1)  # prompts times n of one request
    requests_per_minute: int | None = Field(
        default=None, ge=1
    )  # of each key (of each address, where there are no keys)
    read_timeout_s: float = Field(default=30.0, gt=0)  # a body that stops coming
    write_timeout_s: float = Field(default=60.0, gt=0)  # a reader that stops reading
    drain_s: int = Field(default=30, ge=0)  # after SIGTERM, time for running answers to end
    logs_prompts: bool = False  # prompts and answers are never logged otherwise

    @property
    def is_exposed(self) -> bool:
        return not is_loopback(self.host)

    @property
    def asks_for_keys(self) -> bool:
        return self.is_exposed if self.requires_keys is None else self.requires_keys


def is_loopback(host: str) -> bool:
    """`is_loopback("127.0.0.1")`; a name other than localhost counts as outside."""
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
