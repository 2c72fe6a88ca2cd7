"""The cache of signing keys: what it fetches, how often, and what it does while the auth server fails."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from service.exchange import MIB, Origin
from service.web.auth import Authenticator
from service.web.errors import ApiError, ErrorCode
from service.web.jwks import Jwks, JwksUnavailableError, parse_jwks
from tests.support.raw_api import DRIPS, Api, Drip, in_time
from tests.support.raw_api import answer as told
from tests.support.tokens import CONVERTERS, PRIVATE_KEYS, JwksServer, Tokens, kid_of, public_jwk
from tests.support.waiting import LAST_RESORT_SECONDS, wait_until

KID = kid_of("ES256")
COOLDOWN = 30
LIFETIME = 600


class Clock:
    """Stands in for the time module of service.web.jwks."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Server(JwksServer):
    """A JWKS server that can also send these raw bytes instead, or hang up where there are none."""

    fault: bytes | None = None
    # Cleared, it holds every answer back.
    answering: threading.Event

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self
        server.answering = threading.Event()
        server.answering.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                server.answering.wait(LAST_RESORT_SECONDS)
                body = json.dumps({"keys": server.keys}).encode()
                self.wfile.write(answer(body) if server.fault is None else server.fault)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def answer(body: bytes, status: str = "200 OK", **headers: object) -> bytes:
    lines = [f"HTTP/1.0 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


GOOD_BODY = json.dumps({"keys": [public_jwk("ES256")]}).encode()
NOT_A_SET: dict[str, Any] = {
    "null": None,
    "a list": [],
    "a string": "keys",
    "no keys": {},
    "keys that are null": {"keys": None},
    "keys that are an object": {"keys": {}},
}
FAULTS = {
    "500": answer(GOOD_BODY, "500 Internal Server Error"),
    "404": answer(GOOD_BODY, "404 Not Found"),
    "a redirect": answer(b"", "302 Found", Location="/auth/v1/.well-known/jwks.json"),
    "a broken connection": b"",
    "a truncated body": answer(GOOD_BODY, Content_Length=len(GOOD_BODY) + 1),
    "no body": answer(b""),
    "HTML": answer(b"<html>"),
    "bytes": answer(b"\xff\xfe\x00"),
    "endless brackets": answer(b"[" * 100_000),
    "more than a mebibyte": answer(b" " * MIB + GOOD_BODY),
    "more than a mebibyte, packed": answer(gzip.compress(b" " * MIB + GOOD_BODY), Content_Encoding="gzip"),
    **{name: answer(json.dumps(body).encode()) for name, body in NOT_A_SET.items()},
}
each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("service.web.jwks.time", clock)
    return clock


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def jwks(server: Server, clock: Clock) -> Jwks:
    """Nothing is fetched yet."""
    return jwks_of(server)


@pytest.fixture
def loaded(jwks: Jwks, server: Server) -> Jwks:
    assert jwks.key(KID)
    assert server.requests == 1
    return jwks


def jwks_of(server: JwksServer) -> Jwks:
    return Jwks(f"{server.url}/auth/v1/.well-known/jwks.json")


def ask_for_unknown_kids(jwks: Jwks, number: int = 20) -> None:
    for index in range(number):
        assert jwks.key(f"unknown-{index}") is None


def new_key(kid: str) -> dict[str, Any]:
    return public_jwk("ES256", ec.generate_private_key(ec.SECP256R1()), kid=kid)


def private_jwk(algorithm: str) -> dict[str, Any]:
    return {**json.loads(CONVERTERS[algorithm].to_jwk(PRIVATE_KEYS[algorithm])), "kid": "odd"}


def test_a_known_key_is_fetched_once_in_ten_minutes(loaded: Jwks, server: Server, clock: Clock) -> None:
    for seconds, requests in [(0, 1), (LIFETIME - 1, 1), (LIFETIME, 2), (2 * LIFETIME - 1, 2), (2 * LIFETIME, 3)]:
        clock.now = 1_000 + seconds
        assert loaded.key(KID)
        assert server.requests == requests


@pytest.mark.parametrize("fault", [None, *FAULTS.values()], ids=["a good set", *FAULTS])
def test_unknown_kids_cause_one_fetch_in_thirty_seconds_whatever_the_server_answers(
    loaded: Jwks, server: Server, clock: Clock, fault: bytes | None
) -> None:
    server.fault = fault
    for period in range(1, 4):
        ask_for_unknown_kids(loaded)
        clock.now += COOLDOWN - 1
        ask_for_unknown_kids(loaded)
        assert server.requests == 1 + period
        clock.now += 1


def test_unknown_kids_cause_one_fetch_in_thirty_seconds_while_the_server_is_unreachable(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as server:
        jwks = jwks_of(server)
        jwks.key(KID)
    fetches = count_fetches(monkeypatch)
    for period in range(1, 4):
        ask_for_unknown_kids(jwks)
        clock.now += COOLDOWN - 1
        ask_for_unknown_kids(jwks)
        assert len(fetches) == period
        clock.now += 1


def count_fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    fetches: list[str] = []
    get: Callable[..., Any] = Origin.get

    def counted(self: Origin, target: str = "", **options: Any) -> Any:
        fetches.append(target)
        return get(self, target, **options)

    monkeypatch.setattr(Origin, "get", counted)
    return fetches


def test_an_unknown_kid_that_finds_the_set_expired_causes_one_fetch(loaded: Jwks, server: Server, clock: Clock) -> None:
    clock.now += LIFETIME
    ask_for_unknown_kids(loaded)
    assert server.requests == 2


@pytest.mark.parametrize("fault", [None, FAULTS["500"]], ids=["healthy", "failing"])
@pytest.mark.parametrize("load_first", [True, False], ids=["loaded", "never loaded"])
def test_twenty_threads_with_unknown_kids_at_once_cause_one_fetch(
    jwks: Jwks, server: Server, fault: bytes | None, load_first: bool
) -> None:
    if load_first:
        jwks.key(KID)
    earlier = server.requests
    server.fault = fault
    barrier = threading.Barrier(20)

    def ask(index: int) -> None:
        barrier.wait(LAST_RESORT_SECONDS)
        try:
            assert jwks.key(f"unknown-{index}") is None
        except JwksUnavailableError:
            assert fault
            assert not load_first

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(ask, range(20)))
    assert server.requests == earlier + 1


def test_twenty_threads_with_a_known_kid_at_once_cause_one_first_fetch(jwks: Jwks, server: Server) -> None:
    server.answering.clear()
    with ThreadPoolExecutor(20) as pool:
        found = [pool.submit(jwks.key, KID) for _ in range(20)]
        server.answering.set()
        assert all(each.result(LAST_RESORT_SECONDS) for each in found)
    assert server.requests == 1


@pytest.mark.parametrize(("kid", "passed"), [("unknown", 0), (KID, LIFETIME)], ids=["unknown kid", "expired set"])
def test_known_keys_are_found_while_a_fetch_hangs(
    loaded: Jwks, server: Server, clock: Clock, kid: str, passed: int
) -> None:
    server.answering.clear()
    clock.now += passed
    with ThreadPoolExecutor(1) as pool:
        fetching = pool.submit(loaded.key, kid)
        wait_until(lambda: fetching.done() or server.requests == 2)
        assert loaded.key(KID)
        assert not fetching.done()
        server.answering.set()
        assert bool(fetching.result(LAST_RESORT_SECONDS)) is (kid == KID)


@each_fault
def test_the_last_good_set_outlives_a_failing_server(loaded: Jwks, server: Server, clock: Clock, fault: bytes) -> None:
    server.fault = fault
    for _ in range(5):
        clock.now += LIFETIME
        assert loaded.key(KID)
        assert loaded.key("unknown") is None
        assert loaded.key(KID)


def test_the_last_good_set_outlives_an_unreachable_server(clock: Clock) -> None:
    with Server() as server:
        jwks = jwks_of(server)
        jwks.key(KID)
    for _ in range(5):
        clock.now += LIFETIME
        assert jwks.key(KID)
        assert jwks.key("unknown") is None


def test_an_expired_set_is_asked_for_once_in_thirty_seconds_while_the_server_fails(
    loaded: Jwks, server: Server, clock: Clock
) -> None:
    server.fault = FAULTS["500"]
    clock.now += LIFETIME
    for period in range(1, 4):
        for _ in range(20):
            assert loaded.key(KID)
        assert server.requests == 1 + period
        clock.now += COOLDOWN
    server.fault = None
    assert loaded.key(KID)
    clock.now += LIFETIME - 1
    assert loaded.key(KID)
    assert server.requests == 5


def test_a_rotated_key_is_found_at_once_after_the_first_fetch(loaded: Jwks, server: Server) -> None:
    server.keys.append(new_key("rotated"))
    assert loaded.key("rotated")
    assert loaded.key(KID)


def test_a_rotated_key_is_found_when_the_cooldown_is_over(loaded: Jwks, server: Server, clock: Clock) -> None:
    ask_for_unknown_kids(loaded)
    server.keys.append(new_key("rotated"))
    assert loaded.key("rotated") is None
    clock.now += COOLDOWN
    assert loaded.key("rotated")


def test_a_withdrawn_key_is_forgotten_within_ten_minutes(loaded: Jwks, server: Server, clock: Clock) -> None:
    server.keys = [new_key("rotated")]
    assert loaded.key(KID)
    clock.now += LIFETIME
    assert loaded.key(KID) is None
    assert loaded.key("rotated")


@each_fault
def test_without_any_set_yet_the_keys_are_unavailable_until_the_server_recovers(
    jwks: Jwks, server: Server, clock: Clock, fault: bytes
) -> None:
    server.fault = fault
    for kid, passed in [(KID, 0), (KID, COOLDOWN - 1), ("unknown", 0)]:
        clock.now += passed
        with pytest.raises(JwksUnavailableError) as caught:
            jwks.key(kid)
        assert 1 <= caught.value.retry_after <= COOLDOWN
    assert server.requests == 1
    server.fault = None
    clock.now += 1
    assert jwks.key(KID)


def test_a_token_that_no_key_can_judge_yet_is_a_503_that_names_when_to_retry(server: Server, clock: Clock) -> None:
    server.fault = FAULTS["500"]
    authenticator = Authenticator(server.url, None)
    bearer = f"Bearer {Tokens(f'{server.url}/auth/v1').sign()}"
    with pytest.raises(ApiError) as caught:
        authenticator.authenticate(bearer)
    assert caught.value.code is ErrorCode.AUTH_KEYS_UNAVAILABLE
    assert caught.value.retry_after == COOLDOWN
    server.fault = None
    clock.now += COOLDOWN
    assert authenticator.authenticate(bearer)


def test_a_token_is_a_503_while_the_server_is_unreachable(clock: Clock) -> None:
    with Server() as server:
        authenticator = Authenticator(server.url, None)
    with pytest.raises(ApiError) as caught:
        authenticator.authenticate(f"Bearer {Tokens(f'{server.url}/auth/v1').sign()}")
    assert caught.value.code is ErrorCode.AUTH_KEYS_UNAVAILABLE


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_a_server_without_end_holds_the_fetch_no_longer_than_its_time_and_new_keys_come_after_it(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, drip: Drip
) -> None:
    monkeypatch.setattr("service.web.jwks.FETCH_SECONDS", 0.2)
    with Api() as api:
        jwks = Jwks(f"{api.url}/auth/v1/.well-known/jwks.json")
        api.says = [drip]
        with pytest.raises(JwksUnavailableError):
            in_time(lambda: jwks.key(KID))
        monkeypatch.setattr("service.web.jwks.FETCH_SECONDS", 60)
        clock.now += COOLDOWN
        api.says = [told(GOOD_BODY)]
        assert jwks.key(KID)
        clock.now += LIFETIME
        api.says = [told(json.dumps({"keys": [new_key("rotated")]}).encode())]
        assert jwks.key("rotated")


def test_a_redirect_is_not_followed(jwks: Jwks, server: Server) -> None:
    with JwksServer() as other:
        server.fault = answer(b"", "302 Found", Location=f"{other.url}/auth/v1/.well-known/jwks.json")
        with pytest.raises(JwksUnavailableError):
            jwks.key(KID)
        assert (server.requests, other.requests) == (1, 0)


EC_JWK = public_jwk("ES256", kid="odd")
RSA_JWK = public_jwk("RS256", kid="odd")
UNUSABLE: dict[str, Any] = {
    "null": None,
    "a string": "key",
    "a list": [EC_JWK],
    "an empty object": {},
    "no kid": {name: value for name, value in EC_JWK.items() if name != "kid"},
    "a kid that is a number": {**EC_JWK, "kid": 1},
    "a kid that is a list": {**EC_JWK, "kid": ["odd"]},
    "a key to encrypt with": {**EC_JWK, "use": "enc"},
    "a use that is a list": {**EC_JWK, "use": ["sig"]},
    "a secret": {"kty": "oct", "kid": "odd", "k": "c2VjcmV0" * 8, "alg": "HS256"},
    "an unknown family": {**EC_JWK, "kty": "XYZ"},
    "a family that is a list": {**EC_JWK, "kty": ["EC"]},
    "a curve that is an object": {**EC_JWK, "crv": {}},
    "another curve": public_jwk("ES256", ec.generate_private_key(ec.SECP384R1()), kid="odd"),
    "an Ed448 key": {**public_jwk("EdDSA"), "kid": "odd", "crv": "Ed448"},
    "no coordinate": {name: value for name, value in EC_JWK.items() if name != "x"},
    "a coordinate that is a number": {**EC_JWK, "x": 5},
    "a coordinate that is null": {**EC_JWK, "x": None},
    "a short coordinate": {**EC_JWK, "x": "AQAB"},
    "a point off the curve": {**EC_JWK, "x": EC_JWK["y"]},
    "no modulus": {name: value for name, value in RSA_JWK.items() if name != "n"},
    "a modulus that is not base64": {**RSA_JWK, "n": "é"},
    "an empty modulus": {**RSA_JWK, "n": ""},
    "an even exponent": {**RSA_JWK, "e": "BA"},
    # Whoever reads the set could sign with these.
    **{f"a private {algorithm} key": private_jwk(algorithm) for algorithm in PRIVATE_KEYS},
}


@pytest.mark.parametrize("member", UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_member_is_passed_over_and_spoils_no_other(member: Any) -> None:
    assert set(parse_jwks({"keys": [member, public_jwk("ES256"), member]})) == {KID}


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_the_family_of_a_key_decides_its_algorithm_whatever_it_claims(algorithm: str) -> None:
    for claimed in ("HS256", "none", None, 5, *PRIVATE_KEYS):
        keys = parse_jwks({"keys": [public_jwk(algorithm, alg=claimed)]})
        assert keys[kid_of(algorithm)].algorithm_name == algorithm
