"""Models of the Hugging Face Hub: found, checked, downloaded once, and pinned to a commit.

`HuggingFaceTB/SmolLM2-135M-Instruct`, or with a branch, tag or commit behind it: `owner/name@v1`.  The order of work
keeps a useless download from happening: what the repository holds, then its config.json (is the architecture known?),
then the disk, then the weights.  Only configuration, tokenizer and safetensors files of the top folder are ever
fetched; no pickle, no code.  The token and the cache are those of `huggingface_hub` (`hf auth login`, $HF_HOME).

Without a network the last download is used where it is whole.  The one file that knows `huggingface_hub`.
Left out: our own `glasshouse/` records of a checkpoint that was uploaded (its manifest lists files we do not fetch).
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from glasshouse.checkpoint.load import TOKENIZERS, load_config
from glasshouse.checkpoint.weights import INDEX, WEIGHTS, shard_names, weight_files
from glasshouse.core.environment import hub_endpoint, is_hub_offline
from glasshouse.core.errors import CheckpointError
from glasshouse.core.extras import require

CONFIG = "config.json"
SMALL_FILES = (*TOKENIZERS, "generation_config.json", "tokenizer_config.json", "special_tokens_map.json",
               "chat_template.jinja")  # fmt: skip
UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".gguf")
DEFAULT_REVISION = "main"
TIMEOUT_S = 10.0

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][\w./-]*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubName:
    """`owner/name` at a revision: a branch, a tag or a commit."""

    repo: str
    revision: str = DEFAULT_REVISION

    @staticmethod
    def parse(text: str) -> "HubName | None":
        """None where `text` cannot be the name of a model on the Hub."""
        match = _NAME.fullmatch(text)
        if match is None or ".." in text or "--" in match[1]:
            return None
        return HubName(match[1], match[2] or DEFAULT_REVISION)

    def __str__(self) -> str:
        return self.repo if self.revision == DEFAULT_REVISION else f"{self.repo}@{self.revision}"


@dataclass(frozen=True, slots=True)
class HubRecord:
    """What was used, for the record of a run: `commit` is what `revision` meant."""

    repo: str
    revision: str
    commit: str
    is_from_cache: bool  # the Hub was not asked whether the revision has moved

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def fetch(
    name: HubName, *, endpoint: str | None = None, cache: Path | None = None, token: str | None = None
) -> tuple[Path, HubRecord]:
    """The folder of a model on the Hub, downloaded if need be.  Raises `CheckpointError` saying what to do."""
    source = _Source(name, endpoint or hub_endpoint(), cache, token)
    if _COMMIT.fullmatch(name.revision) and (folder := source.cached_folder()):
        return folder, _record(name, folder)  # a commit never changes: nothing to ask
    if is_hub_offline():
        return _from_cache(source, "HF_HUB_OFFLINE forbids to ask the Hub")
    try:
        return source.download()
    except _Unreachable as error:
        return _from_cache(source, str(error))


def _from_cache(source: "_Source", reason: str) -> tuple[Path, HubRecord]:
    if folder := source.cached_folder():
        return folder, _record(source.name, folder)
    raise CheckpointError(
        f"{source.name}: there is no directory of this name, and a model of the Hub has to be downloaded first, but "
        f"{reason}. Go on line once, or name a run or a checkpoint folder."
    )


def _record(name: HubName, folder: Path) -> HubRecord:
    return HubRecord(name.repo, name.revision, folder.name, is_from_cache=True)


class _Unreachable(Exception):
    """The Hub does not answer; what was downloaded before may do."""


class _Source:
    """One model, one Hub, one cache."""

    def __init__(self, name: HubName, endpoint: str | None, cache: Path | None, token: str | None) -> None:
        self.name = name
        self._hub: ModuleType = require("huggingface_hub", "hf", f"{name} is no directory here; a model of the Hub")
        self._api = self._hub.HfApi(endpoint=endpoint, token=token)
        self._cache = Path(cache or self._hub.constants.HF_HUB_CACHE).expanduser()
        self._url = f"{self._api.endpoint}/{name.repo}"

    def cached_folder(self) -> Path | None:
        """The folder of the last download, where it is whole."""
        config = self._cached(CONFIG, self.name.revision)
        if config is None or not any((config.parent / file).is_file() for file in TOKENIZERS):
            return None
        try:
            weight_files(config.parent)
        except CheckpointError:
            return None
        return config.parent

    def download(self) -> tuple[Path, HubRecord]:
        with self._explained():
            info = self._api.model_info(
                self.name.repo, revision=self.name.revision, files_metadata=True, timeout=TIMEOUT_S
            )
        sizes = {file.rfilename: int(file.size or 0) for file in info.siblings or ()}
        self._check_files(sizes)
        folder = self._get(CONFIG, info.sha).parent
        load_config(folder)  # an unknown architecture is refused before anything large is fetched
        if WEIGHTS not in sizes:
            self._get(INDEX, info.sha)
        weights = [WEIGHTS] if WEIGHTS in sizes else self._shards(folder, sizes)
        wanted = [file for file in SMALL_FILES if file in sizes] + weights
        self._check_disk(sum(sizes[file] for file in wanted if self._cached(file, info.sha) is None))
        for file in wanted:
            self._get(file, info.sha)
        self._get(CONFIG, self.name.revision)  # leaves a note in the cache of what this revision meant, for off line
        return folder, HubRecord(self.name.repo, self.name.revision, info.sha, is_from_cache=False)

    def _check_files(self, sizes: dict[str, int]) -> None:
        if CONFIG not in sizes:
            raise CheckpointError(f"{self.name}: holds no {CONFIG}, so it is not a model that can be loaded.")
        if WEIGHTS not in sizes and INDEX not in sizes:
            unsafe = sorted(file for file in sizes if file.endswith(UNSAFE))
            found = f" It has {unsafe[0]}, which is not read (pickles run code)." if unsafe else ""
            raise CheckpointError(f"{self.name}: holds no safetensors weights.{found} Choose a model that has them.")
        if not any(file in sizes for file in TOKENIZERS):
            raise CheckpointError(f"{self.name}: holds no {TOKENIZERS[0]}. Weights without a tokenizer cannot be used.")

    def _shards(self, folder: Path, sizes: dict[str, int]) -> list[str]:
        names = shard_names(folder)
        if missing := [name for name in names if name not in sizes]:
            raise CheckpointError(f"{self.name}: incomplete: {', '.join(missing)} is named in {INDEX} but not there.")
        return names

    def _check_disk(self, n_bytes: int) -> None:
        place = next(path for path in (self._cache, *self._cache.absolute().parents) if path.exists())
        n_free = shutil.disk_usage(place).free
        if n_bytes > n_free:
            raise CheckpointError(
                f"{self.name}: takes {n_bytes / 1e9:.2f} GB, but {self._cache} has only {n_free / 1e9:.2f} GB free. "
                "Make room, or let HF_HOME name a larger disk."
            )

    def _cached(self, file: str, revision: str) -> Path | None:
        path = self._hub.try_to_load_from_cache(self.name.repo, file, cache_dir=self._cache, revision=revision)
        return Path(path) if isinstance(path, str) else None

    def _get(self, file: str, revision: str) -> Path:
        with self._explained():
            return Path(self._api.hf_hub_download(self.name.repo, file, revision=revision, cache_dir=self._cache))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The Hub's errors in words that say what to do."""
        errors = self._hub.errors
        try:
            yield
        except errors.GatedRepoError:
            raise CheckpointError(
                f"{self.name}: its owner asks for consent. Log in at {self._url}, accept the terms, then give this "
                "machine your token: hf auth login"
            ) from None
        except errors.RevisionNotFoundError:
            raise CheckpointError(f"{self.name}: no revision {self.name.revision!r}. See {self._url}/tree") from None
        except errors.RepositoryNotFoundError:
            raise CheckpointError(
                f"{self.name}: neither a directory here nor a model at {self._url}, or a private one: then log in with "
                "hf auth login. A run is named like runs/quickstart."
            ) from None
        except errors.EntryNotFoundError as error:  # as LocalEntryNotFoundError also when the connection broke
            if isinstance(error, errors.LocalEntryNotFoundError):
                raise _Unreachable(_cause(error)) from None
            raise CheckpointError(f"{self.name}: {_cause(error)}") from None
        except errors.HfHubHTTPError as error:
            if error.response is not None and error.response.status_code in (401, 403):
                raise CheckpointError(
                    f"{self.name}: access refused ({_cause(error)}). Look at your token: hf auth whoami"
                ) from None
            raise _Unreachable(_cause(error)) from None
        except (errors.HTTPError, ConnectionError) as error:  # what the HTTP library raises for a broken connection
            raise _Unreachable(_cause(error)) from None
        except OSError as error:
            raise CheckpointError(f"{self.name}: cannot be written to {self._cache} ({error}).") from None


def _cause(error: BaseException) -> str:
    """The first line of the first error behind `error`."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
