"""The programs of docs/integrate.md as they stand there, against the service and stand-ins of what is around it."""

import functools
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from pydantic import TypeAdapter

from service.jobs.job import JobWithFailures
from tests.clients.clients import HERE, require
from tests.clients.installation import EMAIL, PASSWORD, Installation, OpenPage, some_calls, standin_of
from tests.clients.pages import Page
from tests.support.database import Sql, add_user, jobs_of
from tests.support.paths import ROOT
from tests.support.processing import Process, Processors, add_job
from tests.support.serving import Serve, free_port
from tests.support.supabase_auth import SupabaseAuth
from tests.support.waiting import LAST_RESORT_SECONDS, wait_until

# The fenced blocks, each with its language.
BLOCKS = re.findall(r"^```(\w+)\n(.+?)^```", (ROOT / "docs/integrate.md").read_text(), re.MULTILINE | re.DOTALL)
CALLS = 120
PROGRAMS = {"node": "first-sync.mjs", "python": "first_sync.py"}
Run = Callable[..., Process]

CONNECTED = """
import { connect } from './historical-sync.js'
const { SUPABASE_URL, SUPABASE_PUBLISHABLE_KEY, SERVICE_URL, EMAIL, PASSWORD } = process.env
const sync = connect({ supabaseUrl: SUPABASE_URL, publishableKey: SUPABASE_PUBLISHABLE_KEY, serviceUrl: SERVICE_URL })
await sync.signIn(EMAIL, PASSWORD)
"""
# Signs out while the watch sleeps between two polls.
ABORTING = f"""{CONNECTED}
const leaving = new AbortController()
const {{ job_id }} = await sync.start()
const onChange = ({{ status }}) => {{
  console.log(status)
  setTimeout(() => {{ leaving.abort(); sync.supabase.auth.signOut() }})
}}
console.log(await sync.watch(job_id, onChange, {{ signal: leaving.signal }}))
"""
# Asks, and once more after a signal.
REFUSED = f"""{CONNECTED}
async function ask() {{
  const error = await sync.status().catch((error) => error)
  const {{ data }} = await sync.supabase.auth.getSession()
  const isTraced = Boolean(error.requestId)
  console.log(`${{error.status}} ${{error.code}} ${{isTraced}}, signed in: ${{data.session !== null}}`)
}}
const kept = setInterval(() => {{}}, 1000)
process.once('SIGINT', () => ask().finally(() => clearInterval(kept)))
await ask()
"""


def named(blocks: list[tuple[str, str]]) -> dict[str, str]:
    """Those that are files: the first line of each says which."""
    named = {}
    for _, text in blocks:
        if found := re.search(r" ([\w-]+\.(?:js|mjs|html|py))\b", text.partition("\n")[0]):
            named[found[1]] = text
    return named


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files of the page, beside the package from npm that they need."""
    folder = tmp_path / "program"
    folder.mkdir()
    for name, text in named(BLOCKS).items():
        (folder / name).write_text(text)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(HERE / "node_modules")
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Of the service that runs last."""
    return tmp_path / "log"


@pytest.fixture
def place(auth: SupabaseAuth, serve: Serve, sql: Sql, processors: Processors) -> Iterator[Installation]:
    """The agency's service and 120 calls at Ultravox; no processor runs before the test starts one."""
    with serve(SUPABASE_URL=auth.url) as server, standin_of(some_calls()) as ultravox:
        yield Installation(server.url, sql, ultravox, processors, serve)


@pytest.fixture
def run(files: Path, auth: SupabaseAuth) -> Iterator[Run]:
    """Start a program with what the page says it needs."""
    started: list[Process] = []

    def run(*command: str | Path, service: str, **environment: str) -> Process:
        log = files / f"run-{len(started)}"
        needed = {
            "SUPABASE_URL": auth.url,
            "SUPABASE_PUBLISHABLE_KEY": auth.publishable_key,
            "SERVICE_URL": service,
            "EMAIL": EMAIL,
            "PASSWORD": PASSWORD,
            "NODE_OPTIONS": "--experimental-websocket",  # for Node 20
        }
        with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
            popen = subprocess.Popen(
                command,
                cwd=files,
                env={"PATH": os.environ["PATH"], **needed, **environment},
                stdout=out,
                stderr=err,
                text=True,
            )
        started.append(Process(popen, log))
        return started[-1]

    yield run
    for process in started:
        process.popen.kill()
        process.wait()


@pytest.fixture(params=PROGRAMS)
def script(request: pytest.FixtureRequest, run: Run) -> Run:
    """Start the script in JavaScript or the one in Python."""
    language = str(request.param)
    interpreter = require("node") if language == "node" else sys.executable
    return functools.partial(run, interpreter, *(["-u"] * (language == "python")), PROGRAMS[language])


@pytest.fixture
def node_script(run: Run) -> Run:
    return functools.partial(run, require("node"), PROGRAMS["node"])


def succeeded(process: Process) -> list[str]:
    """Wait for its end; return the lines it has printed."""
    assert process.wait() == 0, process.stderr
    return process.stdout.splitlines()


def complaints(process: Process) -> list[str]:
    """The lines of its standard error, without supabase-js' own about Node 20."""
    return [line for line in process.stderr.splitlines() if "Node.js 20" not in line]


def statuses(log: Path, name: str = "") -> list[int]:
    """How the functions have answered, or one of them, in order."""
    requests = [
        json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines() if '"event": "request"' in line
    ]
    path = f"/functions/v1/{name}"
    return [it["status"] for it in requests if it["path"].startswith(path) and it["method"] != "OPTIONS"]


class TestScript:
    def test_it_starts_a_sync_cancels_it_in_its_middle_resumes_it_and_shows_what_has_arrived(
        self, place: Installation, node_script: Run
    ) -> None:
        place.ultravox.let(4)
        place.process()
        first = node_script(service=place.url)
        wait_until(lambda: f"in_progress: 40 of {CALLS} calls" in first.stdout)
        first.send(signal.SIGINT)
        lines = succeeded(first)
        assert (lines[0], "It is cancelled. " in lines) == ("Started.", True)

        place.ultravox.let(math.inf)
        lines = succeeded(node_script(service=place.url))
        assert lines[0] == "Resumed."
        assert lines[-4:-1] == [
            f"completed: {CALLS} of {CALLS} calls",
            "It is completed. verified",
            f"{CALLS} calls are here, and 0 are missing on 0 days.",
        ]
        assert lines[-1].endswith(f": completed, {CALLS} new")
        assert sum(place.stored_days().values()) == CALLS
        assert len(jobs_of(place.sql)) == 1

    def test_it_lists_more_jobs_than_a_page_has(self, place: Installation, node_script: Run, agency_id: UUID) -> None:
        for _ in range(45):
            add_job(place.sql, agency_id)
            place.sql.execute("update public.historical_sync_jobs set status = 'completed', completed_at = now()")
        place.process()

        lines = succeeded(node_script(service=place.url))

        assert sum(line.endswith(": completed, 0 new") for line in lines) == 45

    def test_it_takes_over_a_sync_that_is_running_already(
        self, place: Installation, script: Run, agency_id: UUID, log: Path
    ) -> None:
        job_id = add_job(place.sql, agency_id)
        running = script(service=place.url)
        wait_until(lambda: 409 in statuses(log))
        place.process()

        succeeded(running)
        assert [(job["id"], job["status"]) for job in jobs_of(place.sql)] == [(job_id, "completed")]
        assert statuses(log, "start-historical-sync") == [409]

    def test_a_token_that_runs_out_meanwhile_is_renewed_before(
        self, place: Installation, node_script: Run, auth: SupabaseAuth, log: Path
    ) -> None:
        auth.lifetime = 60  # so short that it is due at once
        place.ultravox.let(4)
        place.process()
        running = node_script(service=place.url)
        wait_until(lambda: auth.grants("refresh_token") >= 2 and "in_progress" in running.stdout)
        place.ultravox.let(math.inf)

        succeeded(running)
        assert 401 not in statuses(log)

    def test_a_token_that_the_service_takes_for_expired_is_replaced_and_the_call_made_again(
        self, place: Installation, script: Run, auth: SupabaseAuth, log: Path
    ) -> None:
        auth.token_age = 2 * auth.lifetime  # as where the clocks differ
        place.process()

        succeeded(script(service=place.url))
        assert statuses(log)[:2] == [401, 200]
        assert statuses(log).count(401) == 1

    def test_who_has_been_signed_out_elsewhere_is_told_to_sign_in_again(
        self, place: Installation, node_script: Run, auth: SupabaseAuth
    ) -> None:
        auth.lifetime = 2
        running = node_script(service=place.url)
        wait_until(lambda: "pending" in running.stdout)
        auth.end_sessions()

        assert running.wait() == 1
        assert complaints(running) == ["The session has ended. Sign in again."]

    def test_a_sign_in_that_is_away_for_a_while_is_waited_for(
        self, place: Installation, node_script: Run, auth: SupabaseAuth
    ) -> None:
        auth.lifetime = 2
        running = node_script(service=place.url)
        wait_until(lambda: "pending" in running.stdout)
        auth.is_down = True
        wait_until(lambda: auth.grants("refresh_token", 503) >= 3)
        auth.is_down = False
        place.process()

        succeeded(running)

    def test_a_service_that_is_busy_is_asked_again_after_a_while(
        self,
        auth: SupabaseAuth,
        serve: Serve,
        database_url: str,
        sql: Sql,
        processors: Processors,
        script: Run,
        log: Path,
    ) -> None:
        with (
            serve(SUPABASE_URL=auth.url, DATABASE_STATEMENT_TIMEOUT="0.5") as server,
            standin_of(some_calls()) as ultravox,
            psycopg.connect(database_url) as other,
        ):
            other.execute("lock table public.historical_sync_jobs")
            running = script(service=server.url)
            wait_until(lambda: 503 in statuses(log))
            other.rollback()
            processors.start(ultravox, "--watch")

            succeeded(running)
        assert [job["status"] for job in jobs_of(sql)] == ["completed"]

    def test_a_service_that_goes_away_and_comes_back_is_waited_for(
        self, auth: SupabaseAuth, serve: Serve, sql: Sql, processors: Processors, node_script: Run
    ) -> None:
        port = free_port()
        with standin_of(some_calls()) as ultravox:
            with serve(SUPABASE_URL=auth.url, PORT=str(port)) as server:
                running = node_script(service=server.url)
                wait_until(lambda: "pending" in running.stdout)
            processors.run(ultravox)  # while nobody can see it
            hang_up(port, times=7)
            with serve(SUPABASE_URL=auth.url, PORT=str(port)):
                lines = succeeded(running)
        assert "It is completed. verified" in lines

    def test_who_belongs_to_no_agency_is_told_so(
        self, place: Installation, script: Run, auth: SupabaseAuth, sql: Sql
    ) -> None:
        auth.add_user(add_user(sql, None), EMAIL, PASSWORD)

        running = script(service=place.url)

        assert running.wait() == 1
        assert "Your account does not belong to an agency." in running.stderr
        assert "no_agency" in running.stderr

    def test_a_wrong_password_is_told(self, place: Installation, script: Run) -> None:
        running = script(service=place.url, PASSWORD="wrong")

        assert running.wait() == 1
        [sentence] = complaints(running)
        assert "Invalid login credentials" in sentence

    def test_who_finds_nobody_there_is_told_so_in_a_sentence(
        self, place: Installation, script: Run, files: Path
    ) -> None:
        without_waiting(files)

        running = script(service=f"http://127.0.0.1:{free_port()}")

        assert running.wait() == 1
        [sentence] = complaints(running)
        assert sentence.startswith("There is no answer at the moment")

    def test_who_has_the_wrong_address_is_told_so_in_a_sentence(
        self, place: Installation, script: Run, files: Path
    ) -> None:
        with serving(files) as other:
            running = script(service=other)
            assert running.wait() == 1
        [sentence] = complaints(running)
        assert re.match(r"The service answered 404\.$|http.* answered 501 without JSON", sentence)

    def test_who_watches_is_told_that_the_service_is_away(
        self, auth: SupabaseAuth, serve: Serve, node_script: Run, agency_id: UUID
    ) -> None:
        with serve(SUPABASE_URL=auth.url) as server:
            running = node_script(service=server.url)
            wait_until(lambda: "pending" in running.stdout)
        wait_until(lambda: "There is no answer at the moment. Still trying." in running.stdout)

    def test_a_watch_that_is_aborted_asks_nothing_more_and_gives_undefined(
        self, place: Installation, run: Run, files: Path, auth: SupabaseAuth, log: Path
    ) -> None:
        (files / "abort.mjs").write_text(ABORTING)

        lines = succeeded(run(require("node"), "abort.mjs", service=place.url))

        assert lines == ["pending", "undefined"]
        assert statuses(log, "get-sync-status") == [200]

    def test_who_is_refused_for_good_is_signed_out_and_keeps_the_code_and_the_request_id(
        self, auth: SupabaseAuth, serve: Serve, run: Run, files: Path
    ) -> None:
        (files / "refused.mjs").write_text(REFUSED)
        with SupabaseAuth() as another, serve(SUPABASE_URL=another.url) as server:
            running = run(require("node"), "refused.mjs", service=server.url)
            wait_until(lambda: "401 token_invalid" in running.stdout)
            auth.end_sessions()
            running.popen.send_signal(signal.SIGINT)
            lines = succeeded(running)

        assert lines == ["401 token_invalid true, signed in: true", "401 token_invalid true, signed in: false"]


def test_the_lines_of_curl_sign_in_start_a_sync_and_look_at_it(
    place: Installation, run: Run, auth: SupabaseAuth
) -> None:
    [lines] = [text for language, text in BLOCKS if language == "sh"]

    answers = [json.loads(line) for line in succeeded(run("bash", "-euc", lines, service=place.url)) if line]

    started, status, coverage, listed, cancelled, resumed = answers
    [job] = jobs_of(place.sql)
    assert cancelled == {**started, "status": "cancelled"}
    assert resumed == started
    assert started == {"job_id": str(job["id"]), "status": "pending"}
    assert [status["job"]] == listed["jobs"]
    assert len(coverage["days"]) == 365
    assert auth.grants("password") == 1


def test_the_job_that_is_shown_has_every_field_of_a_job() -> None:
    [shown] = [json.loads(text) for language, text in BLOCKS if language == "json"]
    assert list(shown) == [field.name for field in fields(JobWithFailures)]
    TypeAdapter(JobWithFailures).validate_python(shown)


class TestPage:
    @pytest.fixture
    def page(self, files: Path, place: Installation, auth: SupabaseAuth, open_page: OpenPage) -> Iterator[Page]:
        """Opened at an origin that is neither the service's nor Supabase's."""
        html = files / "index.html"
        examples = {"https://example.supabase.co": auth.url, "sb_publishable_example": auth.publishable_key}
        for example, real in {**examples, "https://sync.example.com": place.url}.items():
            assert html.read_text().count(example) == 1
            html.write_text(html.read_text().replace(example, real))
        (files / "supabase.js").symlink_to(HERE / "node_modules/@supabase/supabase-js/dist/umd/supabase.js")
        with serving(files) as origin:
            yield open_page(origin, auth.url, place.url, "data:")

    def sign_in(self, page: Page, password: str = PASSWORD) -> None:
        page.label("Email").fill(EMAIL)
        page.label("Password").fill(password)
        page.button("Sign in").click()

    def test_a_sync_is_started_cancelled_in_its_middle_resumed_and_completed(
        self, page: Page, place: Installation
    ) -> None:
        place.ultravox.let(4)
        place.process()
        self.sign_in(page, "wrong")
        page.alerts("Invalid login credentials")
        self.sign_in(page)
        page.says("Nothing has been imported yet.")
        page.button("Start").click()
        page.says("in_progress: ")
        wait_until(lambda: sum(place.stored_days().values()) == 40)
        stored = sum(place.stored_days().values())
        page.button("Cancel").click()
        page.says(f"cancelled: {round(100 * stored / CALLS)} %, {stored} new calls")
        page.button("Resume").click()
        page.says("in_progress: ")
        place.ultravox.let(math.inf)
        page.says(f"completed, verified: {CALLS} calls are here, 0 missing")
        [day, *_] = place.stored_days().items()
        assert f"{day[0]}: {day[1]} of {day[1]} calls, complete" in page.css("#days li").texts
        assert [it.partition("Z: ")[2] for it in page.css("#jobs li").texts] == [f"completed, {CALLS} new calls"]

    def test_who_is_not_signed_in_or_has_signed_out_can_start_nothing(self, page: Page, log: Path) -> None:
        self.sign_in(page, "wrong")
        page.alerts("Invalid login credentials")
        assert page.css("fieldset:disabled").count() == 1
        self.sign_in(page)
        page.says("Nothing has been imported yet.")
        page.button("Start").click()
        page.says("pending: 0 %")
        page.button("Sign out").click()
        page.css("fieldset:disabled").wait()
        wait_until(lambda: page.role("status").text == "")
        assert 401 not in statuses(log)

    def test_it_goes_on_watching_after_a_reload_and_its_polls_without_news_cost_a_304(
        self, page: Page, log: Path
    ) -> None:
        self.sign_in(page)
        page.says("Nothing has been imported yet.")
        page.button("Start").click()
        page.says("pending: 0 %")
        page.reload()
        page.says("pending: 0 %")

        polls = len(statuses(log, "get-sync-status"))
        wait_until(lambda: len(statuses(log, "get-sync-status")) >= polls + 3)
        assert set(statuses(log, "get-sync-status")[polls + 1 :]) == {304}

    def test_a_sync_that_somebody_else_has_started_is_taken_over(
        self, page: Page, place: Installation, agency_id: UUID
    ) -> None:
        self.sign_in(page)
        page.says("Nothing has been imported yet.")
        add_job(place.sql, agency_id)
        page.button("Start").click()
        page.says("pending: 0 %")
        page.alerts("A sync of the beginning to ")
        assert len(jobs_of(place.sql)) == 1


def without_waiting(files: Path) -> None:
    """Let the programs try again at once."""
    for name, waiting, at_once in [
        ("historical-sync.js", "refusal.retryAfter ?? 2", "0"),
        ("first_sync.py", "backoff_factor=1", "backoff_factor=0"),
    ]:
        text = (files / name).read_text()
        assert text.count(waiting) == 1
        (files / name).write_text(text.replace(waiting, at_once))


def hang_up(port: int, times: int) -> None:
    """Answer nobody, so many times."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(LAST_RESORT_SECONDS)
        for _ in range(times):
            listener.accept()[0].close()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; the value is the origin."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
