"""An exchange over HTTP: it ends in time and within its size, whatever the server does, and says why in plain words."""

import errno
import gzip
import re
import socket
import ssl
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from service.exchange import MIB, Answer, AnswerTooLargeError, ExchangeError, Origin
from tests.support.paths import ROOT
from tests.support.raw_api import (
    CHUNKED,
    CONTINUE,
    DRIPS,
    UNPACKED_FROM,
    Api,
    Drip,
    answer,
    in_time,
    pouring,
)
from tests.support.waiting import LAST_RESORT_SECONDS

# The deadline where the test waits for it, and one that no test sits out.
SHORT, LONG = 0.2, 60.0
BODY = b'{"results": []}'


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as api:
        yield api


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a key and a certificate of 127.0.0.1 that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, today = x509.Name([]), datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(secret + signed.public_bytes(pem))
    return path


@pytest.fixture
def tls_api(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API over TLS whose certificate is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Api(tls_of(certificate)) as api:
        yield api


def tls_of(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def origin_of(url: str, connections: int = 1) -> Origin:
    return Origin(url, connections=connections)


def get(origin: Origin, seconds: float = LONG) -> Answer:
    return in_time(lambda: origin.get("/api/calls", largest=MIB, seconds=seconds))


def wait_for_the_thread() -> None:
    for thread in threading.enumerate():
        if thread.name == "exchange":
            thread.join(LAST_RESORT_SECONDS)
            assert not thread.is_alive()


def assert_is_given_up_in_time(origin: Origin) -> None:
    """The exchange ends at its deadline, and so does its thread."""
    with pytest.raises(ExchangeError, match=rf"within {SHORT} seconds|not answer in time"):
        get(origin, SHORT)
    wait_for_the_thread()


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_an_answer_without_end_ends_at_the_deadline_and_the_next_request_gets_its_own(api: Api, drip: Drip) -> None:
    origin = origin_of(api.url)
    get(origin)
    api.says = [drip]
    assert_is_given_up_in_time(origin)
    assert get(origin).body == BODY
    assert len(api.peers) == 2


@pytest.mark.parametrize("kept", [True, False], ids=["kept connection", "new connection"])
@pytest.mark.parametrize("kind", ["a status line", "a trailer", "a body that ends with the connection"])
def test_an_answer_over_tls_without_end_ends_at_the_deadline(tls_api: Api, kind: str, kept: bool) -> None:
    origin = origin_of(tls_api.url)
    if kept:
        get(origin)
    tls_api.says = [DRIPS[kind]]
    assert_is_given_up_in_time(origin)
    tls_api.says = []
    assert get(origin).body == BODY


HANDSHAKES = {
    "silence": Drip(b"", b"x", pause=600),
    "half a record": Drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"x"),
}


@pytest.mark.parametrize("drip", HANDSHAKES.values(), ids=HANDSHAKES)
def test_a_tls_handshake_without_end_ends_at_the_deadline(drip: Drip) -> None:
    with pouring(drip) as port:
        assert_is_given_up_in_time(origin_of(f"https://127.0.0.1:{port}"))


IN_GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys, threading
from service.exchange import ExchangeError, Origin

def ask(url):
    try:
        Origin(url).get("/api/calls", largest=1024, seconds=0.2)
    except ExchangeError as error:
        print(error)

for url in sys.argv[1:]:
    threading.Thread(target=ask, args=(url,)).start()
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join()
"""


def test_under_gevent_too_everything_without_end_ends_at_the_deadline(certificate: Path) -> None:
    """There threads take turns only where they wait, and a socket's timeout over TLS is for each wait as well."""
    with ExitStack() as stack:
        urls = []
        for tls in (None, tls_of(certificate)):
            for drip in DRIPS.values():
                api = stack.enter_context(Api(tls))
                api.says = [drip]
                urls.append(api.url)
        urls += [f"https://127.0.0.1:{stack.enter_context(pouring(drip))}" for drip in HANDSHAKES.values()]
        done = subprocess.run(
            [sys.executable, "-c", IN_GREENLETS, *urls],
            env={"SSL_CERT_FILE": str(certificate)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LAST_RESORT_SECONDS,
            check=True,
        )
    late = {"it did not answer in full within 0.2 seconds", "it does not answer in time"}
    assert len(done.stdout.splitlines()) == len(urls), done.stderr
    assert set(done.stdout.splitlines()) <= late


def test_a_server_that_takes_no_connection_is_given_up_at_the_deadline() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):  # and nobody accepts it
            assert_is_given_up_in_time(origin_of(f"http://127.0.0.1:{listener.getsockname()[1]}"))


def test_a_name_that_is_looked_up_without_end_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = threading.Event()

    def look_up(*_: object) -> Any:
        given_up.wait(LAST_RESORT_SECONDS)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(ExchangeError, match=f"within {SHORT} seconds"):
        get(origin_of("http://api.example"), SHORT)
    given_up.set()
    wait_for_the_thread()


def test_a_server_that_is_reached_after_the_deadline_is_hung_up_before_it_drips(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up, look_up = threading.Event(), socket.getaddrinfo

    def look_up_late(*asked: Any) -> Any:
        given_up.wait(LAST_RESORT_SECONDS)
        return look_up(*asked)

    api.says = [DRIPS["a header"]]
    monkeypatch.setattr(socket, "getaddrinfo", look_up_late)
    with pytest.raises(ExchangeError, match=f"within {SHORT} seconds"):
        get(origin_of(api.url), SHORT)
    given_up.set()
    wait_for_the_thread()


def test_an_answer_after_the_deadline_is_thrown_away_with_its_connection(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()
    api.says = [lambda: answer(b"late") if given_up.wait(LAST_RESORT_SECONDS) else b""]
    monkeypatch.setattr("service.exchange._Line.hang_up", lambda _: None)
    # The socket's own timeout must not come first.
    monkeypatch.setattr("service.exchange.wait", lambda asked, _: wait(asked, SHORT))
    origin = origin_of(api.url)
    with pytest.raises(ExchangeError, match="not answer in full"):
        get(origin)
    given_up.set()
    wait_for_the_thread()
    assert get(origin).body == BODY
    assert len(api.peers) == 2


def test_answers_around_the_deadline_come_whole_or_not_at_all_and_break_no_other(api: Api) -> None:
    """What ends with the deadline may share nothing with the next exchange, which is on its way by then."""
    origin, seconds, released = origin_of(api.url, connections=4), 0.03, threading.Event()

    def slow(number: int) -> Callable[[], bytes]:
        body = f"answer {number % 7}".encode() * 1000
        return lambda: answer(body) if not released.wait(seconds * (0.7 + number % 7 / 10)) else b""

    api.says = [slow(number) for number in range(160)]

    def ask(_: int) -> str:
        try:
            return origin.get("/api/calls", largest=MIB, seconds=seconds).body.decode()
        except ExchangeError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        outcomes = set(pool.map(ask, range(160)))
    late = {f"it did not answer in full within {seconds} seconds", "it does not answer in time"}
    assert outcomes <= late | {f"answer {number}" * 1000 for number in range(7)}


def test_a_body_is_unpacked_to_the_end(api: Api) -> None:
    text = bytes(range(256)) * 4096  # 1 MiB, just what is taken
    for encoding, packed in {"gzip": gzip.compress(text), "deflate": zlib.compress(text)}.items():
        api.says = [answer(packed, Content_Encoding=encoding)]
        assert get(origin_of(api.url)).body == text


@cache
def bomb(wbits: int) -> bytes:
    """200 MiB of zeros, packed."""
    packer = zlib.compressobj(wbits=wbits)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(200)), packer.flush()])


# Packed by the test that sends it: every process that runs tests loads this module.
BOMBS = {
    "gzip": ("gzip", lambda: bomb(31)),
    "gzip in gzip": ("gzip, gzip", lambda: gzip.compress(bomb(31))),
    "gzip in many parts": ("gzip", lambda: gzip.compress(bytes(MIB)) * 200),
    "zlib": ("deflate", lambda: bomb(15)),
    "deflate": ("deflate", lambda: bomb(-15)),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["one body", "chunks"])
@pytest.mark.parametrize(("encoding", "pack"), BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_never_in_memory_as_a_whole(
    api: Api, encoding: str, pack: Callable[[], bytes], chunked: bool
) -> None:
    packed = pack()
    in_chunks = CHUNKED.replace(b"\r\n", f"\r\nContent-Encoding: {encoding}\r\n".encode(), 1)
    in_chunks += b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    api.says = [in_chunks if chunked else answer(packed, Content_Encoding=encoding)]
    tracemalloc.start()
    try:
        with pytest.raises(AnswerTooLargeError, match="larger than 1 MiB"):
            get(origin_of(api.url))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MIB


def test_an_answer_that_is_too_large_leaves_no_connection_behind(api: Api) -> None:
    api.says = [answer(bytes(MIB + 1))]
    origin = origin_of(api.url)
    with pytest.raises(AnswerTooLargeError):
        get(origin)
    assert get(origin).body == BODY
    assert len(api.peers) == 2


CLASS_NAME = re.compile(r"[a-z][A-Z]|Error|Exception|Errno|[\[\]()<>]")
SAID = {
    "a dropped connection": (b"", "the connection broke off"),
    "half a body": (answer(b"{", Content_Length=2, Connection="close"), "the connection broke off"),
    "half a chunk": (CHUNKED.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + b"9\r\n{", "the connection broke off"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "its answer is garbled"),
    "no chunk": (CHUNKED + b"size\r\n", "the connection broke off"),
    "a flood of headers": (b"HTTP/1.1 200 OK\r\n" + b"X-Odd: x\r\n" * 1000, "its answer is garbled"),
    "an endless header": (b"HTTP/1.1 200 OK\r\nX-Odd: " + b"x" * 100_000, "its answer is garbled"),
    "broken gzip": (answer(b"no gzip", Content_Encoding="gzip"), "its answer is garbled"),
}


@pytest.mark.parametrize(("said", "words"), SAID.values(), ids=SAID)
def test_what_a_server_says_wrong_is_told_in_plain_words(api: Api, said: bytes, words: str) -> None:
    api.says = [said]
    with pytest.raises(ExchangeError) as caught:
        get(origin_of(api.url))
    assert str(caught.value) == words
    assert caught.value.cause


def no_such_name(*_: object) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def no_way(*_: object, **__: object) -> Any:
    raise OSError(errno.EHOSTUNREACH, "No route to host")


def test_a_server_that_cannot_be_reached_is_told_in_plain_words(
    certificate: Path, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert told(f"http://127.0.0.1:{port}") == "it refuses connections"
    with Api(tls_of(certificate)) as untrusted:
        assert told(untrusted.url) == "its certificate is not trusted"
    assert told(api.url.replace("http:", "https:")) == "the secure connection failed"
    assert told("http://a..example") == "its name is not found"
    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert told("http://nowhere.example") == "its name is not found"
    monkeypatch.setattr("urllib3.util.connection.create_connection", no_way)
    assert told("http://127.0.0.1") == "no connection could be made"


def told(url: str) -> str:
    with pytest.raises(ExchangeError) as caught:
        get(origin_of(url))
    assert not CLASS_NAME.search(str(caught.value))
    return str(caught.value)


WHOLE = [
    answer(BODY),
    CONTINUE + answer(BODY),
    answer(gzip.compress(BODY), Content_Encoding="gzip"),
    UNPACKED_FROM + gzip.compress(BODY),
    CHUNKED + b"7\r\n" + BODY[:7] + b"\r\n8\r\n" + BODY[7:] + b"\r\n0\r\nX-Odd: x\r\n\r\n",
]
CUTS = st.tuples(st.integers(0, 300), st.integers(0, 9), st.binary(max_size=4))


@pytest.fixture(scope="module")
def curt_api() -> Iterator[Api]:
    with Api() as api:
        api.hangs_up = True
        yield api


@given(st.sampled_from(WHOLE), st.lists(CUTS, max_size=3))
@settings(max_examples=150, deadline=None)
def test_whatever_is_said_is_an_answer_or_the_one_error(
    curt_api: Api, said: bytes, cuts: list[tuple[int, int, bytes]]
) -> None:
    for start, length, other in cuts:
        said = said[:start] + other + said[start + length :]
    curt_api.says = [said]
    with suppress(ExchangeError):
        assert isinstance(get(origin_of(curt_api.url)), Answer)
