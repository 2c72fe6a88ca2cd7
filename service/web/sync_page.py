"""The sync page: a page of static files that calls the functions of its own origin as an agency's dashboard does.

It is served where SYNC_PAGE is on. What it has to know about the installation is in config.json.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, current_app
from werkzeug.exceptions import NotFound

from service.settings import ORIGIN, Settings
from service.web.responses import revalidated, unless_known

FOLDER = Path(__file__).with_name("page")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# A local stack leaves here that it signs everybody in; the page then asks its POST /sync-page/demo-session.
DEMO = "demo_session"


class File(NamedTuple):
    body: bytes
    content_type: str


INDEX = "index.html"

blueprint = Blueprint("sync_page", __name__)


def init_app(app: Flask) -> None:
    """Serve the page at `/` and its files below `/sync-page/`."""
    files()
    app.register_blueprint(blueprint)


@cache
def files() -> dict[str, File]:
    """Read all of them, once: what is not among them is not served, whatever a path says."""
    found = {}
    for path in FOLDER.rglob("*"):
        if path.suffix in TYPES:
            found[path.relative_to(FOLDER).as_posix()] = File(path.read_bytes(), TYPES[path.suffix])
    return found


@blueprint.get("/")
def index() -> Response:
    return _answer(files()[INDEX])


@blueprint.get("/sync-page/<path:name>")
def file(name: str) -> Response:
    if name == INDEX or name not in files():
        raise NotFound
    return _answer(files()[name])


@blueprint.get("/sync-page/config.json")
def config() -> Response:
    settings: Settings = current_app.extensions["settings"]
    return unless_known(
        {
            "supabase_url": settings.supabase_url,
            "publishable_key": settings.supabase_publishable_key,
            "demo": callable(current_app.extensions.get(DEMO)),
        }
    )


@blueprint.after_request
def protect(response: Response) -> Response:
    """Let the page load from its own origin alone, and talk to nobody but it and the Supabase project."""
    response.headers["Content-Security-Policy"] = "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self' {_supabase_origin()}".rstrip(),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"  # asks again each time, with the ETag
    return response


def _answer(file: File) -> Response:
    return revalidated(Response(file.body, content_type=file.content_type))


def _supabase_origin() -> str:
    settings: Settings = current_app.extensions["settings"]
    parts = urlsplit(settings.supabase_url or "")
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin if ORIGIN.fullmatch(origin) else ""
