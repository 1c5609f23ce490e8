"""The process around the app: models loaded, a socket, signals, and an orderly end.

SIGTERM (or Ctrl-C): no new connections, /ready says no, running answers come to their end within `drain_s`, then the
engines stop.  A second Ctrl-C does not wait.
"""

import resource
from types import FrameType

from glasshouse.core.environment import start_torch
from glasshouse.core.errors import ConfigError
from glasshouse.core.terminal import Terminal
from glasshouse.infer import Engine
from glasshouse.infer.background import BackgroundEngine
from glasshouse.infer.quality import measured_loss
from glasshouse.serve.app import create_app
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.http import FastAPI, uvicorn
from glasshouse.serve.keys import KeyStore
from glasshouse.serve.logs import configure_logging

N_FILES = 65_536  # open files asked for: every connection is one


def serve(config: ServeConfig) -> None:
    """Load the models and serve them until a signal ends it."""
    if not config.models:
        raise ConfigError("there is no model to serve. Name a run or a checkpoint: glass serve runs/quickstart")
    check_exposure(config)
    start_torch()
    terminal = Terminal()
    engines = {name: load_engine(path, config) for name, path in named_models(config.models).items()}
    app = create_app(engines, config)
    for name in engines:
        terminal.line("serving", f"{name} at http://{config.host}:{config.port}/v1")
    run_app(app, config)


def run_app(app: FastAPI, config: ServeConfig) -> None:
    """Serve `app` until a signal ends it (the studio's app too)."""
    configure_logging()
    _allow_many_files()
    Server(app, config).run()


class Server(uvicorn.Server):
    """uvicorn that tells the app when it begins to stop."""

    def __init__(self, app: FastAPI, config: ServeConfig) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                app,
                host=config.host,
                port=config.port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # addresses that a client may make up would defeat the rate limit
                ws="none",
                lifespan="on",
                timeout_graceful_shutdown=config.drain_s,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.is_ready = False
        super().handle_exit(sig, frame)


def check_exposure(config: ServeConfig) -> None:
    """Raise where the server would be open to others without a key."""
    if config.is_exposed and not config.asks_for_keys:
        raise ConfigError(f"{config.host} can be reached from outside: keys cannot be switched off there. "
                          "Serve on 127.0.0.1, or keep the keys.")  # fmt: skip
    if config.asks_for_keys and not KeyStore(config.keys_folder).has_active():
        raise ConfigError(f"serving on {config.host} asks for API keys and there is none. Run: glass key create NAME")


def named_models(paths: tuple[str, ...]) -> dict[str, str]:
    """Each model under its folder's name: `runs/quickstart` is served as `quickstart`."""
    named: dict[str, str] = {}
    for path in paths:
        name = path.rstrip("/").rsplit("/", 1)[-1] if _is_local(path) else path
        if name in named:
            raise ConfigError(f"two models are called {name!r}: {named[name]} and {path}. Rename a folder.")
        named[name] = path
    return named


def _is_local(path: str) -> bool:
    from pathlib import Path

    return Path(path).exists()


def load_engine(path: str, config: ServeConfig) -> BackgroundEngine:
    engine = Engine.load(
        path, weights=config.weights, memory_bytes=config.memory_bytes, max_running=config.max_running,
        speculate=config.speculate,
    )  # fmt: skip
    if engine.why_slower is not None:
        Terminal().warn("serving", engine.why_slower)
    if loss := measured_loss(path, config.weights):
        Terminal().line("serving", str(loss))
    return BackgroundEngine(engine, max_waiting=config.max_waiting)


def _allow_many_files() -> None:
    """Idle connections are cheap, but each is an open file, and 1,024 is a usual limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = N_FILES if hard == resource.RLIM_INFINITY else min(N_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
