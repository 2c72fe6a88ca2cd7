"""The project's public signing keys: fetched, cached and refetched within limits that attackers cannot move.

PyJWT parses the keys. Its PyJWKClient is not used: it forgets the last good set when the cache expires while
the auth server is down, its cooldown does not cover failed fetches, and it holds one lock over every lookup
while it fetches.
"""

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from service.exchange import MIB, ExchangeError, Origin

CACHE_SECONDS = 600.0
REFETCH_SECONDS = 30.0
FETCH_SECONDS = 4.0
LARGEST_DOCUMENT = MIB
# How long a token of an unknown key waits for a fetch under way, and so holds a thread.
WAIT_SECONDS = 1.0

# The family of a key decides its one algorithm (RFC 8725, section 3.1), whatever its "alg" or a token says.
ALGORITHMS: Mapping[tuple[object, object], str] = {
    ("EC", "P-256"): "ES256",
    ("RSA", None): "RS256",
    ("OKP", "Ed25519"): "EdDSA",
}

log = structlog.get_logger(__name__)


class JwksUnavailableError(Exception):
    """The keys could not be fetched, and there is no earlier set to fall back on.

    `retry_after` is the number of seconds until the next fetch is allowed.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__("no signing keys have been fetched yet")
        self.retry_after = retry_after


class Jwks:
    """Signing keys by `kid`. Thread-safe; a lookup of a known key in a fresh set takes no lock."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._origin = Origin(url)
        self._lock = threading.Lock()
        self._keys: dict[str, PyJWK] | None = None
        self._expires_at = 0.0
        # When a kid that the current set does not know may cause a fetch again.
        self._refetch_at = 0.0

    def key(self, kid: str) -> PyJWK | None:
        """Return the key named `kid`, or None where the project has no such key.

        Raises JwksUnavailableError while no set of keys was ever fetched.
        """
        if self._keys is None:
            self._refetch_for(kid)
        elif time.monotonic() >= self._expires_at:
            self._refresh_expired(kid)
        key = self._known(kid)
        if key is None:
            self._refetch_for(kid)
            key = self._known(kid)
        if self._keys is None:
            raise JwksUnavailableError(max(1.0, self._refetch_at - time.monotonic()))
        return key

    def _known(self, kid: str) -> PyJWK | None:
        return self._keys.get(kid) if self._keys else None

    def _refetch_for(self, kid: str) -> None:
        if self._lock.acquire(timeout=WAIT_SECONDS):
            try:
                # Whoever waited for the lock may find the key fetched, or the fetch just done in vain.
                if self._known(kid) is None and time.monotonic() >= self._refetch_at:
                    first = self._keys is None
                    self._fetch()
                    if not first or self._known(kid) is None:
                        self._refetch_at = time.monotonic() + REFETCH_SECONDS
            finally:
                self._lock.release()

    def _refresh_expired(self, kid: str) -> None:
        # One thread fetches; the others go on with the keys at hand.
        if self._lock.acquire(blocking=False):
            try:
                if time.monotonic() >= self._expires_at:
                    self._fetch()
                    if self._known(kid) is None:
                        self._refetch_at = time.monotonic() + REFETCH_SECONDS
            finally:
                self._lock.release()

    def _fetch(self) -> None:
        try:
            self._keys = download_keys(self._origin)
            self._expires_at = time.monotonic() + CACHE_SECONDS
        except ExchangeError as error:
            self._give_up(f"{error} ({error.cause})")
        except (ValueError, RecursionError) as error:
            self._give_up(repr(error))

    def _give_up(self, cause: str) -> None:
        self._expires_at = self._refetch_at = time.monotonic() + REFETCH_SECONDS
        log.warning("jwks_fetch_failed", url=self._url, cause=cause)


def jwks_url(supabase_url: str) -> str:
    return f"{supabase_url}/auth/v1/.well-known/jwks.json"


def download_keys(origin: Origin) -> dict[str, PyJWK]:
    """Return a project's usable signing keys by `kid`.

    Raises ExchangeError, and ValueError or RecursionError where the answer is no JWK Set.
    """
    answer = origin.get(largest=LARGEST_DOCUMENT, seconds=FETCH_SECONDS)
    if answer.status != 200:
        raise ValueError(f"status {answer.status}")
    return parse_jwks(json.loads(answer.body))


def parse_jwks(document: Any) -> dict[str, PyJWK]:
    """Return the usable signing keys of a JWK Set (RFC 7517, section 5) by `kid`.

    Keys of other families, of other uses, without a `kid`, private or malformed are passed over: an `oct` key above
    all, for a published key must never verify an HMAC. Raises ValueError where the document is not a JWK Set.
    """
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a JWK Set")  # noqa: TRY004  # the input is at fault, not a caller
    keys = {}
    for jwk in document["keys"]:
        if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
            continue
        if jwk.get("use") not in (None, "sig") or "d" in jwk:
            continue
        try:
            if algorithm := ALGORITHMS.get((jwk.get("kty"), jwk.get("crv"))):
                keys[jwk["kid"]] = PyJWK(jwk, algorithm)
        except (PyJWTError, TypeError):
            log.warning("jwks_key_unusable", kid=jwk["kid"])
    return keys
