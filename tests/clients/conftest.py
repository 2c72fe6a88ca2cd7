from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from service.local.demo import add_demo_agency
from tests.clients.clients import Client, Curl, Outcome, SupabaseJs, chromium, program
from tests.clients.installation import DEMO, EMAIL, PASSWORD, Installation, OpenPage, some_calls, standin_of
from tests.clients.pages import Driver, Page
from tests.support.database import Sql
from tests.support.processing import Processors
from tests.support.serving import Serve, Server, run_gunicorn
from tests.support.supabase_auth import SupabaseAuth
from tests.support.tokens import Tokens

Call = Callable[..., Outcome]


@pytest.fixture(scope="session")
def anon_key(tokens: Tokens) -> str:
    """The key that a project's pages carry: a token of nobody."""
    return tokens.sign("HS256", iss="supabase", role="anon", sub=None, aud=None)


@pytest.fixture(scope="session")
def node(anon_key: str) -> Iterator[SupabaseJs]:
    with program(anon_key, "node.mjs") as running:
        yield SupabaseJs(running)


@pytest.fixture(scope="session")
def chromium_newer(anon_key: str) -> Iterator[SupabaseJs]:
    with program(anon_key, "browser.mjs", chromium(), "@supabase/supabase-js") as running:
        yield SupabaseJs(running)


@pytest.fixture(scope="session")
def chromium_older(anon_key: str) -> Iterator[SupabaseJs]:
    with program(anon_key, "browser.mjs", chromium(), "supabase-js-older") as running:
        yield SupabaseJs(running)


@pytest.fixture(scope="session")
def curl() -> Curl:
    return Curl()


@pytest.fixture(params=["chromium_newer", "chromium_older"])
def browser(request: pytest.FixtureRequest) -> SupabaseJs:
    """A page on an origin of its own, in a browser that remembers nothing, by either supabase-js."""
    running: SupabaseJs = request.getfixturevalue(request.param)
    running.program.ask(None)
    return running


@pytest.fixture(params=["node", "chromium_newer", "chromium_older"])
def supabase_js(request: pytest.FixtureRequest) -> SupabaseJs:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture(params=["node", "chromium_newer", "chromium_older", "curl"])
def client(request: pytest.FixtureRequest) -> Client:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


@pytest.fixture
def token(bearer: dict[str, str]) -> str:
    return bearer["Authorization"].removeprefix("Bearer ")


@pytest.fixture
def call(client: Client, app_server: Server, token: str) -> Call:
    """Call a function as a user of an agency."""
    return partial(client.invoke, app_server.url, token)


@pytest.fixture
def app_server(serve: Serve) -> Iterator[Server]:
    """One for each test, for what is in its log."""
    with serve() as server:
        yield server


@pytest.fixture(scope="session")
def driver(anon_key: str) -> Iterator[Driver]:
    with program(anon_key, "pages.mjs", chromium()) as running:
        yield Driver(running)


@pytest.fixture
def open_page(driver: Driver) -> Iterator[OpenPage]:
    """Open the page of a service. No page may ask anybody but that and its Supabase, or have an error in the end."""
    allowed: set[str] = set()

    def open_page(*origins: str, **options: object) -> Page:
        allowed.update(origins)
        return driver.open(f"{origins[0]}/", **options)

    yield open_page
    try:
        for page in driver.opened:
            assert page.errors == []
            assert {origin_of(request) for request in page.requests} <= allowed
    finally:
        driver.close()


def origin_of(request: str) -> str:
    url = urlsplit(request.partition(" ")[2])
    return f"{url.scheme}://{url.netloc}"


@pytest.fixture(scope="session")
def demo_server(service_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service of a local stack."""
    with run_gunicorn(tmp_path_factory.mktemp("demo") / "log", **{**service_environment, **DEMO}) as server:
        yield server


@pytest.fixture
def auth(user_id: UUID) -> Iterator[SupabaseAuth]:
    """A Supabase Auth with a user of an agency."""
    with SupabaseAuth() as auth:
        auth.add_user(user_id, EMAIL, PASSWORD)
        yield auth


@pytest.fixture
def processors(database_url: str, tmp_path: Path) -> Iterator[Processors]:
    processors = Processors(database_url, tmp_path)
    yield processors
    processors.close()


@pytest.fixture
def demo(demo_server: Server, sql: Sql, processors: Processors, serve: Serve) -> Iterator[Installation]:
    """The demo agency, 120 calls at Ultravox and none here; no processor runs before the test starts one."""
    add_demo_agency(sql)
    with standin_of(some_calls()) as ultravox:
        yield Installation(demo_server.url, sql, ultravox, processors, serve)
