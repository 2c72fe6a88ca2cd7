"""The sync page: its files, what guards them, and that there is nothing of it where it is off."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.web.sync_page import FOLDER, files
from tests.support.http_assertions import assert_error
from tests.support.paths import ROOT
from tests.support.tokens import JwksServer

ASKS_FOR = re.compile(r"""(?:src|href)="([^"]+)"|from '([^']+)'""")
VENDORED = [
    line.split() for line in (FOLDER / "vendor/vendored.txt").read_text().splitlines() if not line.startswith("#")
]


@pytest.fixture
def page(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app(sync_page="on").test_client()


@pytest.mark.parametrize("path", ["/", "/sync-page/main.js", "/sync-page/config.json", "/sync-page/demo-session"])
def test_nothing_of_it_is_there_where_it_is_off(client: FlaskClient, path: str) -> None:
    assert_error(client.get(path), 404, "not_found")
    assert_error(client.post(path), 404, "not_found")


def test_each_file_is_served_as_what_it_is(page: FlaskClient) -> None:
    served = {f"/sync-page/{name}": name for name in files() if name != "index.html"} | {"/": "index.html"}
    for path, name in served.items():
        answer = page.get(path)
        assert (answer.status_code, answer.data) == (200, (FOLDER / name).read_bytes()), path
        assert answer.mimetype == {
            ".html": "text/html",
            ".js": "text/javascript",
            ".css": "text/css",
            ".svg": "image/svg+xml",
            ".txt": "text/plain",
        }.get(Path(name).suffix)


def test_what_its_files_ask_for_is_there_and_of_its_own_origin(page: FlaskClient) -> None:
    own = [name for name in files() if not name.startswith("vendor/")]
    asked = {found for name in own for pair in ASKS_FOR.findall((FOLDER / name).read_text()) for found in pair if found}
    assert {"/sync-page/main.js", "/sync-page/vendor/supabase.js", "./sync.js"} <= asked
    for path in asked:
        assert path.startswith(("/sync-page/", "./"))
        assert page.get(path.replace("./", "/sync-page/")).status_code == 200, path


@pytest.mark.parametrize(
    "path",
    [
        "/sync-page/",
        "/sync-page/none.js",
        "/sync-page/index.html",
        "/sync-page/vendor",
        "/sync-page/../sync_page.py",
        "/sync-page/%2e%2e/sync_page.py",
        "/sync-page/..%2fsync_page.py",
        "/sync-page//etc/passwd",
        "/index.html",
    ],
)
def test_what_is_none_of_its_files_is_not_found(page: FlaskClient, path: str) -> None:
    assert_error(page.get(path), 404, "not_found")


@pytest.mark.parametrize("path", ["/", "/sync-page/page.css", "/sync-page/config.json"])
def test_who_has_a_file_is_told_so(page: FlaskClient, path: str) -> None:
    first = page.get(path)
    assert first.headers["Cache-Control"] == "no-cache"

    again = page.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert page.get(path, headers={"If-None-Match": f"W/{first.headers['ETag']}"}).status_code == 304
    assert page.get(path, headers={"If-None-Match": '"another"'}).data == first.data


@pytest.mark.parametrize("path", ["/", "/sync-page/main.js", "/sync-page/config.json"])
def test_head_answers_without_a_body_and_other_methods_not_at_all(page: FlaskClient, path: str) -> None:
    head = page.head(path)
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == page.get(path).headers["Content-Length"]

    refused = page.post(path)
    assert_error(refused, 405, "method_not_allowed")
    assert refused.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/", "/sync-page/main.js", "/sync-page/config.json", "/sync-page/none.js"])
def test_it_may_load_from_its_own_origin_alone(page: FlaskClient, jwks_server: JwksServer, path: str) -> None:
    headers = page.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self' {jwks_server.url}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        (None, "'self'"),
        ("https://project.supabase.co/", "'self' https://project.supabase.co"),
        ("https://example.com:8443/supabase", "'self' https://example.com:8443"),
        ("https://example.com;script-src", "'self'"),
    ],
)
def test_it_may_talk_to_the_supabase_project_as_well(
    make_app: Callable[..., Flask], url: str | None, allowed: str
) -> None:
    policy = make_app(sync_page="on", supabase_url=url).test_client().get("/").headers["Content-Security-Policy"]
    assert f"; connect-src {allowed}; " in policy


def test_nothing_in_it_needs_what_the_policy_forbids() -> None:
    text = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", text)
    for name in files():
        if name.endswith(".js"):
            assert not re.search(r"\beval\(|new Function\(", (FOLDER / name).read_text()), name


def test_the_page_is_told_where_to_sign_in(make_app: Callable[..., Flask]) -> None:
    app = make_app(
        sync_page="on", supabase_url="https://project.supabase.co", supabase_publishable_key="sb_publishable_1"
    )
    assert app.test_client().get("/sync-page/config.json").json == {
        "supabase_url": "https://project.supabase.co",
        "publishable_key": "sb_publishable_1",
        "demo": False,
    }


def test_the_page_is_told_where_everybody_is_signed_in(make_app: Callable[..., Flask]) -> None:
    app = make_app(sync_page="on", supabase_url=None)
    app.extensions["demo_session"] = lambda: None
    config = {"supabase_url": None, "publishable_key": None, "demo": True}
    assert app.test_client().get("/sync-page/config.json").json == config


@pytest.mark.parametrize(("name", "package", "version", "source", "digest"), VENDORED, ids=lambda value: value[:20])
def test_what_is_vendored_is_as_it_was_published(
    name: str, package: str, version: str, source: str, digest: str
) -> None:
    assert sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert f"{package.rpartition('/')[2].removesuffix('-js')}.LICENSE.txt" in {line[0] for line in VENDORED}


def test_everything_vendored_is_listed() -> None:
    kept = {path.name for path in (FOLDER / "vendor").iterdir()} - {"vendored.txt"}
    assert kept == {line[0] for line in VENDORED}


def test_the_vendored_client_is_the_one_that_the_service_is_tested_with() -> None:
    tested = json.loads((ROOT / "tests/clients/package.json").read_text())["dependencies"]
    [version] = [line[2] for line in VENDORED if line[0] == "supabase.js"]
    assert version == tested["@supabase/supabase-js"]


def test_the_image_has_its_files(tmp_path: Path) -> None:
    taken = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            if (ROOT / source).is_dir():
                assert f"!{source}" in taken
                shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
    found = subprocess.run(
        [sys.executable, "-c", "from service.web.sync_page import files; print(*files())"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert sorted(found) == sorted(files())
