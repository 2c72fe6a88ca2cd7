"""Real keys of every family, tokens signed with them, and a JWKS server to publish them."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = "test-secret-of-sixty-four-characters-so-that-hs256-is-satisfied!!"
PRIVATE_KEYS: dict[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
CONVERTERS: dict[str, Any] = {"ES256": ECAlgorithm, "RS256": RSAAlgorithm, "EdDSA": OKPAlgorithm}


def kid_of(algorithm: str) -> str:
    return f"key-{algorithm.lower()}"


def public_jwk(algorithm: str, private_key: PrivateKeyTypes | None = None, **changes: Any) -> dict[str, Any]:
    key = private_key or PRIVATE_KEYS[algorithm]
    jwk = json.loads(CONVERTERS[algorithm].to_jwk(key.public_key()))
    return {**jwk, "kid": kid_of(algorithm), "use": "sig", "alg": algorithm, "key_ops": ["verify"], **changes}


def jwks() -> list[dict[str, Any]]:
    return [public_jwk(algorithm) for algorithm in PRIVATE_KEYS]


class Tokens:
    """Signs access tokens as Supabase Auth would. A claim of None is left out."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(datetime.now(UTC).timestamp())
        claims = {
            "iss": self.issuer,
            "sub": "00000000-0000-4000-8000-000000000000",
            "aud": "authenticated",
            "role": "authenticated",
            "iat": now,
            "exp": now + 3600,
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(
        self,
        algorithm: str = "ES256",
        *,
        key: Any = None,
        headers: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        if key is None:
            key = SECRET if algorithm == "HS256" else PRIVATE_KEYS[algorithm]
        if headers is None:
            headers = {} if algorithm == "HS256" else {"kid": kid_of(algorithm)}
        return jwt.encode(self.claims(**claims), key, algorithm=algorithm, headers=headers)


class JwksServer:
    """Supabase Auth's JWKS endpoint. `keys` is what it publishes, `status` how it answers; it counts its requests."""

    def __init__(self) -> None:
        self.keys = jwks()
        self.status = 200
        self.requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                found = self.path == "/auth/v1/.well-known/jwks.json"
                body = json.dumps({"keys": server.keys}).encode()
                self.send_response(server.status if found else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
