from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.clients.clients import Client, Curl, Outcome, SupabaseJs, chromium, program
from tests.support.serving import Serve, Server
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
