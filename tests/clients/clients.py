"""Clients of the service, each behind the same call: supabase-js in Node and in Chromium, and curl."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import Any, Protocol

import pytest

HERE = Path(__file__).resolve().parent
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ANSWER_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """What the caller learns; of a request that the browser refuses, `error` alone."""

    error: str | None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    asked: str = field(default="", compare=False)


class Client(Protocol):
    """`refusal` is how it reports a status of 400 or more."""

    refusal: str

    def invoke(self, url: str, token: str | None, name: str, **options: Any) -> Outcome:
        """Call a function of the project at `url`; `options` are those of supabase-js: body, method, headers."""


class Program:
    """A JavaScript program that takes calls on its standard input for as long as it lives."""

    def __init__(self, process: subprocess.Popen[str], script: str, key: str) -> None:
        self._process = process
        self._script = script
        self._key = key
        self.origin: str | None = self._read().get("origin")

    def ask(self, call: dict[str, Any] | None) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(call and {"key": self._key, **call}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        if not select([self._process.stdout], [], [], ANSWER_SECONDS)[0]:
            pytest.fail(f"{self._script} did not answer")
        line = self._process.stdout.readline()
        if not line:
            pytest.fail(f"{self._script} ended; its message is on standard error")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def program(key: str, script: str, *arguments: str) -> Iterator[Program]:
    command = [require("node"), str(HERE / script), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Program(process, script, key)
        finally:
            assert process.stdin
            with suppress(BrokenPipeError):
                process.stdin.close()  # it ends by itself then, and Chromium with it
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


class SupabaseJs:
    refusal = "FunctionsHttpError"

    def __init__(self, program: Program) -> None:
        self.program = program

    def invoke(self, url: str, token: str | None, name: str, **options: Any) -> Outcome:
        call: dict[str, Any] = {"url": url, "token": token, "name": name}
        # A key or a way to pass the token is the client's setting, not the call's.
        settings: dict[str, Any] = {setting: options.pop(setting) for setting in ("key", "auth") if setting in options}
        answer = self.program.ask({**call, **settings, "options": options})
        asked = f"{name} {options}"[:200]
        return Outcome(**{**answer, "headers": dict(answer.get("headers", ())), "asked": asked})


class Curl:
    refusal = "exit code 22"

    def invoke(self, url: str, token: str | None, name: str, **options: Any) -> Outcome:
        sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **options.get("headers", {})}
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in sent.items()]
        body = options.get("body")
        result = subprocess.run(
            [
                *(require("curl"), "--silent", "--show-error", "--fail-with-body", "--max-time", str(ANSWER_SECONDS)),
                *("--request", options.get("method", "POST"), f"{url}/functions/v1/{name}"),
                *(part for line in lines for part in ("--header", line)),
                *(() if body is None else ("--data-binary", "@-")),
                *("--write-out", '%{stderr}\n{"status": %{http_code}, "headers": %{header_json}}'),
            ],
            input=None if body is None else body if isinstance(body, str) else json.dumps(body),
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode in (0, 22), result.stderr
        written = json.loads(result.stderr[result.stderr.index("\n{") :])
        return Outcome(
            error=f"exit code {result.returncode}" if result.returncode else None,
            status=written["status"],
            headers={name: ", ".join(values) for name, values in written["headers"].items()},
            body=json.loads(result.stdout) if result.stdout else None,
            asked=f"{name} {options}"[:200],
        )


def require(*names: str) -> str:
    """Return the path of the first program that is there."""
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.fail(f"{names[0]} is missing")
    return found


def chromium() -> str:
    return require(*CHROMIUMS)
