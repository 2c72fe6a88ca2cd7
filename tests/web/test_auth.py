"""Which Authorization headers are accepted, and as whom; everything else is a ApiError of the right code."""

import base64
import json
import time
import traceback
from typing import Any
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from service.web.auth import Authenticator
from service.web.errors import ApiError, ErrorCode
from tests.support.tokens import PRIVATE_KEYS, SECRET, JwksServer, Tokens, jwks, kid_of, public_jwk

USER = "00000000-0000-4000-8000-000000000000"
ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "absent"})()
HS256 = {"alg": "HS256"}
HMAC_KEY = SECRET.encode()
PUBLISHED = list(PRIVATE_KEYS)
each_published = pytest.mark.parametrize("algorithm", PUBLISHED)


@pytest.fixture(scope="module")
def project(jwks_server: JwksServer) -> Authenticator:
    """Knows the project's published keys and its secret."""
    return Authenticator(jwks_server.url, SecretStr(SECRET))


@pytest.fixture(scope="module")
def jwks_only(jwks_server: JwksServer) -> Authenticator:
    return Authenticator(jwks_server.url, None)


@pytest.fixture(scope="module")
def secret_only() -> Authenticator:
    return Authenticator(None, SecretStr(SECRET))


def accepts(authenticator: Authenticator, token: str) -> bool:
    return authenticator.authenticate(f"Bearer {token}").user_id == UUID(USER)


def refusal(authenticator: Authenticator, header: str | None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        authenticator.authenticate(header)
    return caught.value


def code_of(authenticator: Authenticator, token: str) -> ErrorCode:
    return refusal(authenticator, f"Bearer {token}").code


def b64(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(payload: Any, header: Any = HS256, *, algorithm: str = "HS256", key: Any = HMAC_KEY) -> str:
    """Sign any JSON with any header, which PyJWT's encode would not."""
    content = f"{b64(header)}.{b64(payload)}"
    return f"{content}.{b64(jwt.get_algorithm_by_name(algorithm).sign(content.encode(), key))}"


def sign_claims(tokens: Tokens, **changes: Any) -> str:
    """Sign good claims with these changes; here None is a null, and only ABSENT leaves a claim out."""
    claims = {**tokens.claims(), **changes}
    return sign({name: value for name, value in claims.items() if value is not ABSENT})


def name_of(value: Any) -> str:
    return "absent" if value is ABSENT else ascii(value)[:30]


# Acceptance


@each_published
def test_a_token_of_a_published_key_is_accepted(
    project: Authenticator, jwks_only: Authenticator, tokens: Tokens, algorithm: str
) -> None:
    assert accepts(project, tokens.sign(algorithm))
    assert accepts(jwks_only, tokens.sign(algorithm))


@pytest.mark.parametrize("headers", [{}, {"kid": "unknown"}, {"kid": kid_of("ES256")}, {"kid": ""}, {"typ": None}])
def test_a_token_of_the_secret_is_accepted_whatever_its_kid(
    project: Authenticator, secret_only: Authenticator, tokens: Tokens, headers: dict[str, Any]
) -> None:
    token = tokens.sign("HS256", headers=headers)
    assert accepts(project, token)
    assert accepts(secret_only, token)


def test_a_token_of_the_secret_needs_no_published_key() -> None:
    with JwksServer() as server:
        server.status = 500
        authenticator = Authenticator(server.url, SecretStr(SECRET))
        assert accepts(authenticator, Tokens(f"{server.url}/auth/v1").sign("HS256", headers={"kid": "unknown"}))
        assert server.requests == 0


def test_only_configured_kinds_of_keys_are_accepted(
    jwks_only: Authenticator, secret_only: Authenticator, tokens: Tokens
) -> None:
    assert code_of(jwks_only, tokens.sign("HS256")) is ErrorCode.TOKEN_INVALID
    for algorithm in PUBLISHED:
        assert code_of(secret_only, tokens.sign(algorithm)) is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("prefix", ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer   "])
def test_the_scheme_is_case_insensitive(project: Authenticator, tokens: Tokens, prefix: str) -> None:
    assert project.authenticate(f"{prefix}{tokens.sign()}").user_id == UUID(USER)


def test_a_token_of_a_rotated_key_is_accepted_without_a_restart() -> None:
    with JwksServer() as server:
        tokens = Tokens(f"{server.url}/auth/v1")
        authenticator = Authenticator(server.url, None)
        assert accepts(authenticator, tokens.sign())
        rotated = ec.generate_private_key(ec.SECP256R1())
        server.keys.append(public_jwk("ES256", rotated, kid="rotated"))
        assert accepts(authenticator, tokens.sign(key=rotated, headers={"kid": "rotated"}))
        assert accepts(authenticator, tokens.sign())


# Claims

ACCEPTED_CLAIMS: list[dict[str, Any]] = [
    {"aud": ["authenticated"]},
    {"aud": ["other", "authenticated"]},
    {"sub": USER.upper()},
    {"iat": ABSENT},
    {"nbf": 0},
    {"exp": 9999999999.5},
    {"session_id": None},
    {"role": "authenticated", "app_metadata": {"role": "anon"}, "unknown": [None]},
]
NAN, INF = float("nan"), float("inf")
NOT_UUIDS: list[Any] = ["", "user", 1, True, [USER], {}, f"{{{USER}}}", f"urn:uuid:{USER}", f" {USER}", f"{USER}\n"]
NOT_UUIDS += [USER.replace("-", ""), f"{USER}0", "٠" + USER[1:]]
REFUSED_VALUES: dict[str, list[Any]] = {
    "exp": [ABSENT, None, "9999999999", "", "nan", [], {}, NAN, INF],
    "nbf": [None, "0", True, [], {}, NAN, -INF, 9999999999],
    "iat": [None, "0", True, [], {}, NAN, -INF, 9999999999],
    "aud": [ABSENT, None, "", "other", "authenticated ", "Authenticated", [], ["other"], ["authenticated", 1], {}, 1],
    "role": [ABSENT, None, "", "anon", "service_role", "Authenticated", ["authenticated"], 1],
    "sub": [ABSENT, None, *NOT_UUIDS],
    "iss": [ABSENT, None, "", "https://other.test/auth/v1", 1, ["iss"]],
    "session_id": NOT_UUIDS,
}
REFUSED_CLAIMS = [(claim, value) for claim, values in REFUSED_VALUES.items() for value in values]


@pytest.mark.parametrize("claims", ACCEPTED_CLAIMS, ids=repr)
def test_good_claims_are_accepted(project: Authenticator, tokens: Tokens, claims: dict[str, Any]) -> None:
    assert accepts(project, sign_claims(tokens, **claims))


@pytest.mark.parametrize(("claim", "value"), REFUSED_CLAIMS, ids=name_of)
def test_a_bad_claim_is_refused(project: Authenticator, tokens: Tokens, claim: str, value: Any) -> None:
    assert code_of(project, sign_claims(tokens, **{claim: value})) is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("exp", [0, -1, 1_000_000_000, 1.5, -1e300])
def test_an_expired_token_is_told_apart(project: Authenticator, tokens: Tokens, exp: float) -> None:
    assert code_of(project, sign_claims(tokens, exp=exp)) is ErrorCode.TOKEN_EXPIRED


@pytest.mark.parametrize("exp", [True, False, "0"])
def test_what_expired_without_being_a_number_is_refused_either_way(
    project: Authenticator, tokens: Tokens, exp: Any
) -> None:
    assert code_of(project, sign_claims(tokens, exp=exp)) in {ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_EXPIRED}


@pytest.mark.parametrize(
    ("claim", "offset", "expected"),
    [
        ("exp", -25, None),
        ("exp", -35, ErrorCode.TOKEN_EXPIRED),
        ("nbf", 25, None),
        ("nbf", 35, ErrorCode.TOKEN_INVALID),
        ("iat", 25, None),
        ("iat", 35, ErrorCode.TOKEN_INVALID),
    ],
)
def test_clocks_may_differ_by_thirty_seconds(
    project: Authenticator, tokens: Tokens, claim: str, offset: int, expected: ErrorCode | None
) -> None:
    token = sign_claims(tokens, **{claim: int(time.time()) + offset})
    if expected:
        assert code_of(project, token) is expected
    else:
        assert accepts(project, token)


@pytest.mark.parametrize("iss", [ABSENT, "https://other.test/auth/v1"], ids=["absent", "other"])
def test_the_issuer_is_free_without_a_project_url(secret_only: Authenticator, tokens: Tokens, iss: Any) -> None:
    assert accepts(secret_only, sign_claims(tokens, iss=iss))


def test_the_principal_names_the_session_if_the_token_does(project: Authenticator, tokens: Tokens) -> None:
    session = "11111111-1111-4111-8111-111111111111"
    assert project.authenticate(f"Bearer {tokens.sign(session_id=session)}").session_id == UUID(session)
    assert project.authenticate(f"Bearer {tokens.sign()}").session_id is None


# Headers

WITHOUT_TOKEN = [None, "", " ", "Bearer", "Bearer ", "bearer   ", "Basic dXNlcjpwYXNz", "BearerToken", "Token a.b.c"]
JUNK = ["two words", "junk", "sb_publishable_abc", "...", "a.b", "a.b.c", "!!.!!.!!", "é.é.é", "e30.e30.", "null"]
JUNK += ["a" * 1_000_000, "." * 1_000_000, ".".join(["a" * 100_000] * 3), b64(b"[" * 100_000) + ".e30."]
LONG = ["Bearer" + " " * 20_000, "Bearer" + " " * 20_000 + "\x0c", "Bearer" + " x" * 10_000]


@pytest.mark.parametrize("header", WITHOUT_TOKEN)
def test_a_header_without_a_bearer_token_is_told_apart(project: Authenticator, header: str | None) -> None:
    assert refusal(project, header).code is ErrorCode.TOKEN_MISSING


@pytest.mark.parametrize("token", [*JUNK, "\ud800.a.b"], ids=name_of)
def test_junk_is_an_invalid_token(project: Authenticator, token: str) -> None:
    assert code_of(project, token) is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("header", LONG, ids=["spaces", "spaces and a form feed", "words"])
def test_no_header_takes_long_to_refuse(project: Authenticator, header: str) -> None:
    start = time.process_time()
    refusal(project, header)
    assert time.process_time() - start < 0.5


# Attacks

NOT_ALGORITHMS: list[Any] = ["none", "None", "NONE", "nOnE", "", " ", "hs256", "HS256 ", "HS384", "HS512", "PS256"]
NOT_ALGORITHMS += ["RS512", "ES384", "ES256K", None, 0, True, ABSENT, ["HS256"], {"HS256": 1}]
FOREIGN_KIDS = ["foreign", "", "../../etc/passwd", "' or 1=1 --", "\ud800", "a" * 100_000, 1, None, []]


@pytest.mark.parametrize("alg", NOT_ALGORITHMS, ids=name_of)
@pytest.mark.parametrize("kid", [{}, {"kid": kid_of("ES256")}], ids=["no kid", "kid"])
def test_no_other_algorithm_is_accepted(project: Authenticator, tokens: Tokens, alg: Any, kid: dict[str, str]) -> None:
    token = sign(tokens.claims(), kid if alg is ABSENT else {"alg": alg, **kid})
    assert code_of(project, token) is ErrorCode.TOKEN_INVALID
    assert code_of(project, token.rpartition(".")[0] + ".") is ErrorCode.TOKEN_INVALID


def public_forms(algorithm: str) -> list[bytes]:
    key = PRIVATE_KEYS[algorithm].public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    jwk = public_jwk(algorithm)
    return [pem, pem.strip(), der, json.dumps(jwk).encode(), json.dumps(jwk, separators=(",", ":")).encode()]


@each_published
def test_a_public_key_is_never_a_secret(
    project: Authenticator, jwks_only: Authenticator, tokens: Tokens, algorithm: str
) -> None:
    for secret in public_forms(algorithm):
        for header in (HS256, {**HS256, "kid": kid_of(algorithm)}, {"alg": algorithm, "kid": kid_of(algorithm)}):
            token = sign(tokens.claims(), header, key=secret)
            assert code_of(project, token) is ErrorCode.TOKEN_INVALID
            assert code_of(jwks_only, token) is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("signed", PUBLISHED)
@pytest.mark.parametrize("alg", [*PUBLISHED, "HS256"])
@pytest.mark.parametrize("named", PUBLISHED)
def test_families_of_keys_are_never_confused(
    project: Authenticator, tokens: Tokens, signed: str, alg: str, named: str
) -> None:
    header = {"alg": alg, "kid": kid_of(named)}
    token = sign(tokens.claims(), header, algorithm=signed, key=PRIVATE_KEYS[signed])
    if signed == alg == named:
        assert accepts(project, token)
    else:
        assert code_of(project, token) is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("kid", FOREIGN_KIDS, ids=name_of)
def test_a_foreign_kid_is_refused(project: Authenticator, tokens: Tokens, kid: Any) -> None:
    header = {"alg": "ES256", "kid": kid}
    token = sign(tokens.claims(), header, algorithm="ES256", key=PRIVATE_KEYS["ES256"])
    assert code_of(project, token) is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("kid", [kid_of("ES256"), "attacker", ABSENT], ids=name_of)
def test_a_key_that_the_token_brings_along_is_ignored(project: Authenticator, tokens: Tokens, kid: Any) -> None:
    attacker = ec.generate_private_key(ec.SECP256R1())
    named = {} if kid is ABSENT else {"kid": kid}
    jwk = public_jwk("ES256", attacker, **named)
    with JwksServer() as server:
        server.keys = [jwk]
        url = f"{server.url}/auth/v1/.well-known/jwks.json"
        for brought in ({}, {"jwk": jwk}, {"jku": url}, {"x5u": url}, {"jwk": jwk, "jku": url, "x5u": url, "x5c": []}):
            header = {"alg": "ES256", **named, **brought}
            token = sign(tokens.claims(), header, algorithm="ES256", key=attacker)
            assert code_of(project, token) is ErrorCode.TOKEN_INVALID
        assert server.requests == 0


@pytest.mark.parametrize("algorithm", [*PUBLISHED, "HS256"])
def test_a_token_that_was_tampered_with_is_refused(project: Authenticator, tokens: Tokens, algorithm: str) -> None:
    header, payload, signature = tokens.sign(algorithm).split(".")
    other = b64(tokens.claims(sub="22222222-2222-4222-8222-222222222222"))
    forged = [f"{header}.{other}.{signature}", f"{header}.{payload}.", f"{header}.{payload}"]
    forged += [f"{header}.{payload}.{signature[:-4]}", f"{header}.{payload}.{signature}AAAA"]
    # r = s = 0, which a careless ECDSA takes for a signature of anything.
    forged += [f"{header}.{payload}.{b64(bytes(64))}", f"{header}.{payload}.{signature}.{signature}"]
    forged += [f"{b64({'alg': algorithm, 'kid': kid_of(algorithm), 'b64': False, 'crit': ['b64']})}..{signature}"]
    for token in forged:
        assert code_of(project, token) is ErrorCode.TOKEN_INVALID


def test_a_published_secret_verifies_nothing() -> None:
    secret = b"a secret that was published by mistake"
    with JwksServer() as server:
        server.keys = [{"kty": "oct", "k": b64(secret), "kid": "oct", "use": "sig", "alg": "HS256"}, *jwks()]
        claims = Tokens(f"{server.url}/auth/v1").claims()
        authenticators = [Authenticator(server.url, None), Authenticator(server.url, SecretStr(SECRET))]
        for alg in ("HS256", *PUBLISHED):
            token = sign(claims, {"alg": alg, "kid": "oct"}, key=secret)
            assert {code_of(each, token) for each in authenticators} == {ErrorCode.TOKEN_INVALID}


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_an_rsa_key_below_2048_bits_verifies_nothing() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with JwksServer() as server:
        server.keys = [public_jwk("RS256", weak)]
        token = Tokens(f"{server.url}/auth/v1").sign("RS256", key=weak)
        assert code_of(Authenticator(server.url, None), token) is ErrorCode.TOKEN_INVALID


# Anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda items: st.lists(items, max_size=3) | st.dictionaries(st.text(st.characters()), items, max_size=3),
    max_leaves=8,
)
CLAIMS = st.sampled_from(["exp", "nbf", "iat", "aud", "role", "sub", "iss", "session_id", "jti"])
HEADERS = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "zip"])
arbitrarily = settings(deadline=None, max_examples=150)


def answers(authenticator: Authenticator, header: str) -> None:
    """Let any exception but a ApiError fail the test."""
    try:
        authenticator.authenticate(header)
    except ApiError as error:
        assert error.code.status == 401  # noqa: PT017  # an accepted token is as good


@given(header=st.text() | st.text().map("Bearer {}".format) | st.from_regex(r"Bearer [\w=-]*\.[\w=-]*\.[\w=-]*"))
@arbitrarily
def test_any_header_is_answered(project: Authenticator, header: str) -> None:
    answers(project, header)


@given(changes=st.dictionaries(CLAIMS | st.text(), JSON, max_size=4))
@arbitrarily
def test_any_claims_are_answered(project: Authenticator, tokens: Tokens, changes: dict[str, Any]) -> None:
    answers(project, f"Bearer {sign_claims(tokens, **changes)}")


@given(header=st.dictionaries(HEADERS | st.text(), JSON, max_size=4).map(lambda header: {**HS256, **header}) | JSON)
@arbitrarily
def test_any_token_header_is_answered(project: Authenticator, tokens: Tokens, header: Any) -> None:
    answers(project, f"Bearer {sign(tokens.claims(), header)}")


@given(payload=JSON)
@arbitrarily
def test_any_payload_is_answered(project: Authenticator, payload: Any) -> None:
    answers(project, f"Bearer {sign(payload)}")


def test_an_error_quotes_neither_token_nor_secret(project: Authenticator, tokens: Tokens) -> None:
    rejected = [sign_claims(tokens, **{claim: value}) for claim, value in REFUSED_CLAIMS] + [
        tokens.sign(exp=1),
        *JUNK[-6:],
    ]
    rejected += [tokens.sign(alg)[:-8] for alg in PUBLISHED] + [tokens.sign(headers={"kid": "foreign"})]
    for token in rejected:
        error = refusal(project, f"Bearer {token}")
        shown = "".join([str(error), repr(error), str(vars(error)), *traceback.format_exception(error)])
        assert SECRET not in shown
        assert not [part for part in token.split(".") if len(part) > 3 and part in shown]
