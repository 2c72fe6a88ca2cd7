"""Brings docker-compose.yml up as an operator would, and kills what it is made of. Run by `make test-stack`.

The tests share one stack and each leaves it idle: no job active, every container up.
"""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import urllib3

from tests.support.answers import Answer
from tests.support.paths import ROOT

CALLS = 4000
START = "/functions/v1/start-historical-sync"
STATUS = "/functions/v1/get-sync-status"
LISTS_THE_CALLS = """
import json, os, urllib.request
url, ids = "http://127.0.0.1:9100/api/calls?pageSize=100", []
while url:
    asked = urllib.request.Request(url, headers={"X-API-Key": os.environ["ULTRAVOX_API_KEY"]})
    page = json.load(urllib.request.urlopen(asked))
    ids += [call["callId"] for call in page["results"]]
    url = page["next"]
print("\\n".join(sorted(ids)))
"""


@dataclass
class Stack:
    """A compose project: what one can do to it, and ask of it."""

    port: int
    project: str = field(default_factory=lambda: f"test-stack-{uuid4().hex[:8]}")
    environment: dict[str, str] = field(default_factory=dict)
    token: str = ""

    def compose(self, *arguments: str, check: bool = True, **changes: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            # A classic builder does, and so the Dockerfile stays free of BuildKit.
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
            "PORT": str(self.port),
            **self.environment,
            **changes,
        }
        done = subprocess.run(
            [*compose_command(), "--project-name", self.project, "--profile", "demo", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if check and done.returncode:
            pytest.fail(f"compose {arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def up(self) -> None:
        self.compose("up", "--detach", "--build")
        eventually(lambda: self.get("/healthz").status == 200, "nginx and gunicorn answer")
        self.token = self.compose("run", "--rm", "-T", "token").stdout.strip()
        eventually(lambda: self.get(STATUS).status == 200, "the demo user is known")

    def request(self, method: str, path: str, **options: Any) -> Answer:
        # A connection of its own for each: nobody's idle one is in the way.
        headers = {"Origin": "https://dashboard.example", "Connection": "close", **options.pop("headers", {})}
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        url = f"http://127.0.0.1:{self.port}{path}"
        response = urllib3.request(method, url, headers=headers, retries=False, timeout=30, **options)
        return Answer.of(response)

    def get(self, path: str) -> Answer:
        try:
            return self.request("GET", path)
        except urllib3.exceptions.HTTPError:
            return Answer(0, urllib3.HTTPHeaderDict(), None)

    def start(self) -> str:
        """Start a sync of an empty database and return the job's id."""
        self.sql("truncate public.calls")
        return self.start_again()

    def start_again(self) -> str:
        answer = self.request("POST", START, json={})
        assert answer.status == 200, answer
        return str(answer.body["job_id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.get(f"{STATUS}?job_id={job_id}")
        return dict(answer.body["job"]) if answer.status == 200 else {}

    def completed(self, job_id: str) -> dict[str, Any]:
        eventually(lambda: self.job(job_id).get("status") in ("completed", "failed"), "the job ends", seconds=180)
        return self.job(job_id)

    def sql(self, statement: str) -> list[str]:
        psql = ["psql", "-U", "postgres", "-d", "historical_sync", "-v", "ON_ERROR_STOP=1", "-Atc", statement]
        return self.compose("exec", "-T", "postgres", *psql).stdout.splitlines()

    def calls_of_ultravox(self) -> list[str]:
        command = ["sh", "deploy/entrypoint.sh", "python", "-c", LISTS_THE_CALLS]
        return self.compose("exec", "-T", "standin", *command).stdout.splitlines()

    def container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).stdout.strip()

    def inspect(self, service: str, template: str) -> str:
        return docker("inspect", "--format", template, self.container(service))

    def kill(self, service: str) -> None:
        """kill -9 of a container's first process. `docker kill` would count as a wish that it stay down."""
        process = self.inspect(service, "{{.State.Pid}}")
        # From a container in the host's process namespace: the daemon may run elsewhere, and the tests as any user.
        options = ["--rm", "--pid", "host", "--user", "0", "--entrypoint", "sh"]
        docker("run", *options, "historical-sync:latest", "-c", f"kill -9 {process}")

    def restarts(self, service: str) -> int:
        return int(self.inspect(service, "{{.RestartCount}}"))

    def secrets(self) -> str:
        script = "cd /run/secrets-volume && sha256sum *"
        return self.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "token", "-c", script).stdout


def compose_command() -> list[str]:
    """The plugin, or the older program of its own."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def eventually(holds: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} seconds: {what}")
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The stack with the demo's calls, slow enough that an import can be met under way."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.fail("no Docker daemon answers: `docker info` says why", pytrace=False)
    slow = {"LEASE_SECONDS": "5", "ULTRAVOX_REQUESTS_PER_SECOND": "12"}
    stack = Stack(free_port(), environment=slow)
    try:
        stack.up()
        yield stack
    finally:
        if os.environ.get("KEEP_STACK") != "1":
            stack.compose("down", "--volumes", "--remove-orphans", check=False)


@contextmanager
def load(stack: Stack) -> Iterator[list[Answer | str]]:
    """Eight clients that poll the status; what they got is the list."""
    seen: list[Answer | str] = []
    done = threading.Event()

    def poll() -> None:
        while not done.wait(0.02):
            try:
                seen.append(stack.request("GET", STATUS))
            except urllib3.exceptions.HTTPError as error:
                seen.append(type(error).__name__)

    clients = [threading.Thread(target=poll) for _ in range(8)]
    for client in clients:
        client.start()
    try:
        yield seen
    finally:
        done.set()
        for client in clients:
            client.join()


def assert_nginx_error(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body["code"] == code
    assert answer.body["error"].endswith(".")
    assert_headers_for_a_browser(answer)
    if status >= 500:
        assert answer.body["request_id"] == answer.headers["X-Request-ID"]
    if status in (429, 502, 503, 504):
        assert int(answer.headers["Retry-After"]) >= 1


def assert_headers_for_a_browser(answer: Answer) -> None:
    assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert answer.headers.getlist("Access-Control-Expose-Headers") == ["x-request-id, retry-after, etag, allow"]
    assert len(answer.headers.getlist("X-Request-ID")) == 1
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]


def assert_everything_is_there(stack: Stack, job: dict[str, Any]) -> None:
    """No call is lost and none there twice, and the counters say so."""
    assert job["status"] == "completed", job
    assert job["processed_calls"] == job["total_calls"] == CALLS
    assert (job["imported_calls"], job["skipped_calls"], job["failed_calls"]) == (CALLS, 0, 0)
    stored = stack.sql('select ultravox_call_id from public.calls order by ultravox_call_id collate "C"')
    assert stored == stack.calls_of_ultravox()


def test_an_import_is_started_watched_and_completed_and_a_second_one_is_told_of_it(stack: Stack) -> None:
    job_id = stack.start()
    second = stack.request("POST", START, json={})
    assert (second.status, second.body["code"], second.body["job"]["id"]) == (409, "sync_already_active", job_id)
    seen = {stack.job(job_id)["processed_calls"]}
    while stack.job(job_id)["status"] in ("pending", "in_progress"):
        seen.add(stack.job(job_id)["processed_calls"])
        time.sleep(0.2)
    assert len(seen) > 3, "the progress can be watched"
    assert_everything_is_there(stack, stack.completed(job_id))


def test_fifty_starts_at_once_create_one_job(stack: Stack) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: stack.request("POST", START, json={}), range(50)))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 49
    stack.completed(next(answer.body["job_id"] for answer in answers if answer.status == 200))


def test_an_answer_of_the_service_passes_nginx_unchanged(stack: Stack) -> None:
    answer = stack.request("POST", START, body=b"x" * 16384, headers={"X-Request-ID": 'mine "quoted"'})
    assert (answer.status, answer.body["code"]) == (400, "invalid_body")
    assert answer.headers["X-Request-ID"] == 'mine "quoted"'
    assert_headers_for_a_browser(answer)


def test_a_bad_request_id_is_replaced_by_nginx(stack: Stack) -> None:
    for sent in ("x" * 129, "tab\there"):
        answer = stack.request("GET", "/healthz", headers={"X-Request-ID": sent})
        assert answer.headers["X-Request-ID"] != sent


def test_a_token_of_32_kilobytes_reaches_the_service_and_a_longer_one_is_refused_in_json(stack: Stack) -> None:
    long = stack.request("POST", START, headers={"Authorization": "Bearer " + "a" * 32_700})
    assert (long.status, long.body["code"]) == (401, "token_invalid")
    longer = stack.request("POST", START, headers={"Authorization": "Bearer " + "a" * 33_000})
    assert_nginx_error(longer, 431, "bad_request")


def test_nginx_answers_a_large_body_in_json(stack: Stack) -> None:
    assert_nginx_error(stack.request("POST", START, body=b"x" * 16385), 413, "body_too_large")


def test_the_page_of_the_demo_is_served_and_signs_in(stack: Stack) -> None:
    eventually(lambda: stack.get("/sync-page/config.json").status == 200, "nginx finds the demo's page", seconds=30)
    assert stack.get("/sync-page/config.json").body["demo"] is True
    from_the_page = {"Sec-Fetch-Site": "same-origin"}
    session = stack.request("POST", "/sync-page/demo-session", headers=from_the_page)
    bearer = {"Authorization": f"Bearer {session.body['access_token']}"}
    assert stack.request("GET", STATUS, headers=bearer).status == 200


@pytest.mark.parametrize("path", ["/nothing", "/metrics", "/readyz", "/functions", "/healthz/../metrics"])
def test_nothing_but_the_functions_is_open_to_the_outside(stack: Stack, path: str) -> None:
    assert_nginx_error(stack.request("GET", path), 404, "not_found")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/3.1\r\nHost: a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"x" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ],
)
def test_a_malformed_request_is_refused_in_json(stack: Stack, sent: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nAccess-Control-Allow-Origin: *" in head
    assert json.loads(body)["code"] == "bad_request"
    assert json.loads(body)["fields"] == {}


def test_what_gunicorn_refuses_passes_nginx_in_json(stack: Stack) -> None:
    answer = stack.request("GET", "/healthz", headers={f"x-{number}": "x" for number in range(101)})
    assert_nginx_error(answer, 431, "bad_request")
    assert answer.body["fields"] == {}


def test_a_method_that_nginx_refuses_itself_is_told_which_to_use(stack: Stack) -> None:
    for path, usable, allowed in ((START, "POST", "OPTIONS, POST"), (STATUS, "GET", "GET, HEAD, OPTIONS")):
        answer = stack.request("TRACE", path)
        assert_nginx_error(answer, 405, "method_not_allowed")
        assert answer.body["error"].endswith(f" Use {usable}.")
        assert answer.headers["Allow"] == allowed


def test_too_many_starts_of_one_client_are_refused_in_json_and_its_polls_are_not(stack: Stack) -> None:
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: stack.request("POST", START, json={"wrong": 1}), range(120)))
    refused = [answer for answer in answers if answer.status == 429]
    assert 0 < len(refused) < 61
    assert_nginx_error(refused[0], 429, "rate_limited")
    assert stack.request("GET", STATUS).status == 200
    time.sleep(7)  # the burst of 60 drains at 10 a second


def test_while_the_service_is_stopped_nginx_answers_502_in_json_and_finds_it_again_when_it_is_recreated(
    stack: Stack,
) -> None:
    stack.compose("stop", "service")
    eventually(lambda: stack.get("/healthz").status == 502, "nginx says 502", seconds=10)
    assert_nginx_error(stack.request("POST", START, json={}), 502, "gateway_unavailable")
    # Another container takes the old one's address, so that the service must get a new one.
    network = f"{stack.project}_default"
    squatter = docker("run", "--detach", "--rm", "--network", network, "historical-sync:latest", "sleep", "300")
    try:
        stack.compose("rm", "--force", "service")
        stack.compose("up", "--detach", "--no-deps", "service")
        eventually(lambda: stack.get("/healthz").status == 200, "nginx finds the new container", seconds=30)
    finally:
        docker("rm", "--force", squatter)


@pytest.mark.parametrize("service", ["processor", "service", "postgres", "nginx"])
def test_a_killed_container_comes_back_by_itself_and_the_import_loses_nothing(stack: Stack, service: str) -> None:
    before = stack.restarts(service)
    with load(stack) as seen:
        job_id = stack.start()
        eventually(lambda: stack.job(job_id).get("processed_calls", 0) > 0, "the import is under way")
        stack.kill(service)
        eventually(lambda: stack.restarts(service) > before, f"Docker restarts {service}", seconds=30)
        assert_everything_is_there(stack, stack.completed(job_id))
    answers = [answer for answer in seen if isinstance(answer, Answer)]
    outcomes = Counter(answer.status if isinstance(answer, Answer) else answer for answer in seen)
    print(f"{service} killed under load, its polls got {dict(outcomes)}")
    for answer in answers:
        assert answer.status in (200, 502, 503, 504), answer
        assert_headers_for_a_browser(answer)
        assert answer.body is not None
    if service != "nginx":
        assert len(answers) == len(seen), "nginx answers everything itself"
    if service == "processor":
        assert outcomes.keys() == {200}
    assert stack.get(STATUS).status == 200


def test_ten_reloads_of_gunicorn_under_load_lose_no_request(stack: Stack) -> None:
    with load(stack) as seen:
        for _ in range(10):
            stack.compose("kill", "--signal", "HUP", "service")
            time.sleep(2)
    assert len(seen) > 500
    outcomes = Counter(answer.status if isinstance(answer, Answer) else answer for answer in seen)
    print(f"ten reloads under load, its polls got {dict(outcomes)}")
    assert outcomes.keys() == {200}


def test_data_and_secrets_survive_down_and_up(stack: Stack) -> None:
    stack.completed(stack.start())
    calls, secrets = stack.sql("select count(*), max(updated_at) from public.calls"), stack.secrets()
    assert {line.split()[1] for line in secrets.splitlines()} == {
        "CREDENTIALS_KEY",
        "DATABASE_URL",
        "OWNER_DATABASE_URL",
        "POSTGRES_PASSWORD",
        "PROCESSOR_DATABASE_URL",
        "SUPABASE_JWT_SECRET",
        "ULTRAVOX_API_KEY",
        "ULTRAVOX_API_URL",
        "ULTRAVOX_REQUESTS_PER_SECOND",
    }
    token = stack.token
    stack.compose("down")
    stack.up()
    assert stack.sql("select count(*), max(updated_at) from public.calls") == calls
    assert stack.secrets() == secrets
    stack.token = token
    assert stack.get(STATUS).status == 200, "a token from before is still good"


def test_no_process_that_serves_has_root_or_a_capability(stack: Stack) -> None:
    for service in ("service", "demo-page", "processor", "nginx"):
        status = stack.compose("exec", "-T", service, "cat", "/proc/1/status").stdout
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["Uid"].split()[1] != "0"
        assert int(fields["CapEff"], 16) == 0
        assert fields["NoNewPrivs"] == "1"


def test_the_image_has_no_compiler(stack: Stack) -> None:
    found = stack.compose("exec", "-T", "service", "sh", "-c", "command -v cc gcc make || true").stdout
    assert found == ""


def test_production_generates_no_secret_and_says_what_is_missing(stack: Stack) -> None:
    refused = stack.compose("run", "--rm", "-T", "secrets", check=False, APP_ENV="production")
    assert refused.returncode == 1
    [line] = [line for line in (refused.stdout + refused.stderr).splitlines() if "APP_ENV" in line]
    for name in ("POSTGRES_PASSWORD", "OWNER_DATABASE_URL", "DATABASE_URL", "CREDENTIALS_KEY", "SUPABASE_URL"):
        assert name in line
    # Nor is one taken that development left behind.
    command = ["run", "--rm", "-T", "--no-deps", "service", "gunicorn", "wsgi:app"]
    without = stack.compose(*command, check=False, APP_ENV="production")
    assert without.returncode == 1
    assert "DATABASE_URL is missing" in without.stdout + without.stderr
