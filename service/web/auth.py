"""From an Authorization header to a Principal, as `supabase.auth.getUser()` would accept it.

Knows PyJWT; knows neither Flask nor SQL. What only the database can tell, such as a revoked session, is asked in
the statement that serves the request (see service/jobs/people.py).
"""

import json
import math
import re
from typing import Any
from uuid import UUID

import jwt
from jwt import PyJWK
from jwt.utils import base64url_decode, base64url_encode
from pydantic import SecretStr

from service.jobs.principal import Principal
from service.web.errors import ApiError, ErrorCode
from service.web.jwks import ALGORITHMS, Jwks, JwksUnavailableError, jwks_url

AUDIENCE = "authenticated"
ROLE = "authenticated"
LEEWAY_SECONDS = 30
BEARER = re.compile(r"bearer +(\S.*)", re.IGNORECASE | re.ASCII)
CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


class Authenticator:
    """Verifies access tokens with a project's published keys, its HS256 secret, or both."""

    def __init__(self, supabase_url: str | None, jwt_secret: SecretStr | None) -> None:
        self._issuer = f"{supabase_url}/auth/v1" if supabase_url else None
        self._jwks = Jwks(jwks_url(supabase_url)) if supabase_url else None
        self._secret = _as_key(jwt_secret) if jwt_secret else None

    def authenticate(self, authorization: str | None) -> Principal:
        """Return the principal of an Authorization header's value.

        Raises ApiError: 401 for any token that is not to be accepted, 503 where no key is known to judge it by.
        """
        match = BEARER.fullmatch((authorization or "").strip())
        if match is None:
            raise ApiError(ErrorCode.TOKEN_MISSING)
        try:
            return self._verify(match[1])
        except jwt.ExpiredSignatureError as error:
            raise ApiError(ErrorCode.TOKEN_EXPIRED, reason=str(error)) from None
        except (jwt.PyJWTError, UnicodeEncodeError) as error:
            raise ApiError(ErrorCode.TOKEN_INVALID, reason=str(error)) from None
        except JwksUnavailableError as error:
            raise ApiError(
                ErrorCode.AUTH_KEYS_UNAVAILABLE,
                reason=str(error),
                retry_after=math.ceil(error.retry_after),
            ) from None

    def _verify(self, token: str) -> Principal:
        key = self._key_for(_header_of(token))
        claims = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=AUDIENCE,
            issuer=self._issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "aud", "sub"], "enforce_minimum_key_length": True},
        )
        return _principal(claims)

    def _key_for(self, header: dict[str, Any]) -> PyJWK:
        """Choose the key, which has its one algorithm. The header only says in which family to look."""
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secret:
            return self._secret
        if algorithm in ALGORITHMS.values() and self._jwks and (kid := header.get("kid")):
            if key := self._jwks.key(kid):
                return key
            raise jwt.InvalidKeyError("the project has no key of this kid")
        raise jwt.InvalidAlgorithmError("no key is configured for this kind of token")


def _as_key(secret: SecretStr) -> PyJWK:
    """Return a secret as a key of a JWKS is: looked at once, and not for each token anew."""
    k = base64url_encode(secret.get_secret_value().encode()).decode()
    return PyJWK({"kty": "oct", "k": k, "alg": "HS256"})


def _header_of(token: str) -> dict[str, Any]:
    """Return what a token says of its own key. PyJWT looks at all of the header later; here it would take the whole
    token apart a second time."""
    try:
        header = json.loads(base64url_decode(token.partition(".")[0]))
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise jwt.DecodeError("the header is not a JSON object")
    return header


def _principal(claims: dict[str, Any]) -> Principal:
    # PyJWT converts what it compares with int(), so that "9e9", true and "123" would do; RFC 7519 wants numbers.
    for name in ("exp", "iat", "nbf"):
        if name in claims and type(claims[name]) not in (int, float):
            raise jwt.InvalidTokenError(f"{name} is not a number")
    if claims.get("role") != ROLE:
        raise jwt.InvalidTokenError("role is not authenticated")
    session_id = claims.get("session_id")
    return Principal(
        user_id=_uuid(claims["sub"], "sub"),
        session_id=None if session_id is None else _uuid(session_id, "session_id"),
    )


def _uuid(value: object, claim: str) -> UUID:
    if not isinstance(value, str) or not CANONICAL_UUID.fullmatch(value):
        raise jwt.InvalidTokenError(f"{claim} is not a UUID")
    return UUID(value)
