"""The web framework: the one file that imports it, so that a missing extra is one line that says which.

Everything else in this folder takes these names from here.
"""

from glasshouse.core.extras import require

for _module in ("fastapi", "uvicorn"):
    require(_module, "serve", "the server")

import uvicorn as uvicorn  # noqa: E402
from fastapi import APIRouter as APIRouter  # noqa: E402
from fastapi import FastAPI as FastAPI  # noqa: E402
from fastapi.exceptions import RequestValidationError as RequestValidationError  # noqa: E402
from starlette.exceptions import HTTPException as HTTPException  # noqa: E402
from starlette.requests import Request as Request  # noqa: E402
from starlette.responses import HTMLResponse as HTMLResponse  # noqa: E402
from starlette.responses import RedirectResponse as RedirectResponse  # noqa: E402
from starlette.responses import Response as Response  # noqa: E402
from starlette.types import ASGIApp as ASGIApp  # noqa: E402
from starlette.types import Message as Message  # noqa: E402
from starlette.types import Receive as Receive  # noqa: E402
from starlette.types import Scope as Scope  # noqa: E402
from starlette.types import Send as Send  # noqa: E402
