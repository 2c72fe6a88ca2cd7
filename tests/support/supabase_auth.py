"""A stand-in of Supabase Auth: sign-in with email and password, renewal, sign-out, and the keys of its tokens."""

import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import jwt

from tests.support.tokens import Tokens, jwks

INVALID_CREDENTIALS = (400, "invalid_credentials", "Invalid login credentials")
NO_REFRESH_TOKEN = (400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
USED_REFRESH_TOKEN = (400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
UNSUPPORTED_GRANT = (400, "invalid_credentials", "unsupported_grant_type")
NO_JSON = (400, "bad_json", "Could not parse request body as JSON")
NO_KEY = (401, "no_authorization", "No API key found in request")
NO_AUTHORIZATION = (401, "no_authorization", "This endpoint requires a valid Bearer token")
BAD_TOKEN = (403, "bad_jwt", "invalid JWT: unable to parse or verify signature")
NOT_FOUND = (404, "not_found", "There is nothing here")


class RefusedError(Exception):
    """The status, code and message of a refusal."""


class Request(NamedTuple):
    method: str
    path: str
    grant: str | None  # of the token endpoint
    status: int


@dataclass
class User:
    id: UUID
    email: str
    password: str


@dataclass
class Session:
    user: User
    id: str = field(default_factory=lambda: str(uuid4()))


class SupabaseAuth:
    """Serves from a thread, in a `with`.

    `lifetime` is that of the tokens it gives from now on, in seconds; `token_age` makes the next one older than it
    says.
    """

    def __init__(self, *, publishable_key: str = "sb_publishable_of_the_tests", lifetime: int = 3600) -> None:
        self.publishable_key = publishable_key
        self.lifetime = lifetime
        self.token_age = 0
        self.is_down = False  # as a gateway answers for it then
        self.requests: list[Request] = []
        self.users: dict[str, User] = {}
        self.sessions: dict[str, Session] = {}  # by the refresh token that is good for it
        self._used: set[str] = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.tokens = Tokens(issuer=f"{self.url}/auth/v1")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add_user(self, user_id: UUID, email: str, password: str) -> None:
        self.users[email] = User(user_id, email, password)

    def end_sessions(self) -> None:
        """Sign everybody out, from elsewhere: their tokens are not renewed any more."""
        self.sessions.clear()

    def grants(self, grant: str, status: int = 200) -> int:
        """How often the token endpoint has answered so."""
        return sum((request.grant, request.status) == (grant, status) for request in self.requests)

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """The status and the JSON of an answer; None is no body at all."""
        parts = urlsplit(path)
        grant = parse_qs(parts.query).get("grant_type", [None])[0]
        with self._lock:
            status, document = self._answered(f"{method} {parts.path}", grant, headers, body)
            self.requests.append(Request(method, parts.path, grant, status))
        return status, document

    def _answered(self, asked: str, grant: str | None, headers: Any, body: bytes) -> tuple[int, Any]:
        if self.is_down:
            return 503, {"message": "name resolution failed"}
        if asked == "GET /auth/v1/.well-known/jwks.json":
            return 200, {"keys": jwks()}
        routes: dict[str, Callable[[], tuple[int, Any]]] = {
            "POST /auth/v1/token": lambda: (200, self._token(grant, _json(body))),
            "GET /auth/v1/user": lambda: (200, _shown(self._signed_in(headers))),
            "POST /auth/v1/logout": lambda: self._sign_out(self._signed_in(headers)),
        }
        try:
            if headers.get("apikey") != self.publishable_key:
                return _refusal(NO_KEY)
            return routes[asked]() if asked in routes else _refusal(NOT_FOUND)
        except RefusedError as refused:
            return _refusal(refused.args)

    def _sign_out(self, user: User) -> tuple[int, None]:
        self.sessions = {token: session for token, session in self.sessions.items() if session.user is not user}
        return 204, None

    def _token(self, grant: str | None, body: dict[str, Any]) -> dict[str, Any]:
        if grant == "password":
            user = self.users.get(str(body.get("email", "")).lower())
            if user is None or body.get("password") != user.password:
                raise RefusedError(*INVALID_CREDENTIALS)
            return self._session(Session(user))
        if grant == "refresh_token":
            token = str(body.get("refresh_token", ""))
            session = self.sessions.pop(token, None)
            if session is None:
                raise RefusedError(*(USED_REFRESH_TOKEN if token in self._used else NO_REFRESH_TOKEN))
            self._used.add(token)
            return self._session(session)
        raise RefusedError(*UNSUPPORTED_GRANT)

    def _session(self, session: Session) -> dict[str, Any]:
        refresh_token = secrets.token_urlsafe(9)
        self.sessions[refresh_token] = session
        now = int(time.time())
        age, self.token_age = self.token_age, 0
        user = session.user
        access_token = self.tokens.sign(
            sub=str(user.id),
            email=user.email,
            session_id=session.id,
            iat=now - age,
            exp=now + self.lifetime - age,
        )
        return {
            "access_token": access_token,
            "token_type": "bearer",
            "expires_in": self.lifetime,
            "expires_at": now + self.lifetime,
            "refresh_token": refresh_token,
            "user": _shown(user),
        }

    def _signed_in(self, headers: Any) -> User:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise RefusedError(*NO_AUTHORIZATION)
        key = jwt.PyJWKSet.from_dict({"keys": jwks()})["key-es256"]
        try:
            claims = jwt.decode(token, key, ["ES256"], audience="authenticated", issuer=self.tokens.issuer)
        except jwt.InvalidTokenError:
            raise RefusedError(*BAD_TOKEN) from None
        user = next((user for user in self.users.values() if str(user.id) == claims["sub"]), None)
        if user is None:
            raise RefusedError(*BAD_TOKEN)
        return user

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        auth = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.command == "OPTIONS":
                    status, document = 200, None
                else:
                    status, document = auth.answer(self.command, self.path, self.headers, body)
                sent = b"" if document is None else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Access-Control-Allow-Origin", "*")
                if self.command == "OPTIONS":
                    self.send_header(
                        "Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS,TRACE,CONNECT"
                    )
                    wanted = self.headers.get("Access-Control-Request-Headers", "")
                    self.send_header("Access-Control-Allow-Headers", wanted)
                if document is not None:
                    self.send_header("Content-Type", "application/json; charset=utf-8")
                if status != 204:
                    self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_POST = do_OPTIONS = do_GET  # noqa: N815 (their names there)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _refusal(refused: tuple[Any, ...]) -> tuple[int, Any]:
    status, code, message = refused
    return status, {"code": status, "error_code": code, "msg": message}


def _shown(user: User) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {
        "id": str(user.id),
        "aud": "authenticated",
        "role": "authenticated",
        "email": user.email,
        "email_confirmed_at": now,
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {},
        "identities": [],
        "created_at": now,
        "updated_at": now,
        "is_anonymous": False,
    }


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        raise RefusedError(*NO_JSON) from None
    if not isinstance(document, dict):
        raise RefusedError(*NO_JSON)
    return document
