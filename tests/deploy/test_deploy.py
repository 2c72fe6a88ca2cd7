"""Types what docs/operate.md says, on a bare Debian, and looks at what a reader then has. Run by `make test-deploy`.

It is the present commit that is deployed: what is not committed is not there. The tests share one machine, and each
leaves the service running.
"""

import json
import re
import shutil
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3

from service.local.demo_calls import demo_calls
from service.local.standin import StandinServer
from tests.deploy import guide
from tests.deploy.machine import Machine, call, leave_the_network
from tests.support.answers import Answer
from tests.support.paths import ROOT
from tests.support.waiting import wait_until

HOST = "sync.example.com"
START, STATUS = "/functions/v1/start-historical-sync", "/functions/v1/get-sync-status"
CALLS = 500
ULTRAVOX_KEY = "abcd1234.0123456789abcdef0123456789abcdef"
ANSWERS_404 = ["/nothing", "/metrics", "/readyz", "/functions", "/healthz/../metrics"]
# In place of a certificate authority: it looks whether the site shows what is put into the webroot, and has the machine
# trust what it makes.
CERTBOT = """#!/bin/bash -eu
[[ "$1 $2 $3 $5 $7" == "certonly --webroot --webroot-path --domain --deploy-hook" ]]
webroot=$4 host=$6 hook=$8
install -D -m 0644 /dev/stdin "$webroot/.well-known/acme-challenge/token" <<< shown
[[ "$(curl --fail --silent "http://$host/.well-known/acme-challenge/token")" == shown ]]
made=/etc/letsencrypt/live/$host
mkdir -p "$made"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$host" -addext "subjectAltName=DNS:$host" \
    -keyout "$made/privkey.pem" -out "$made/fullchain.pem" 2> /dev/null
cp "$made/fullchain.pem" /usr/local/share/ca-certificates/test.crt
update-ca-certificates > /dev/null 2>&1
eval "$hook"
"""


@dataclass
class Site:
    """The deployed service as its callers reach it, over https; and the machine that it runs on."""

    machine: Machine
    source: Path  # the repository that the machine has cloned
    agency_id: str
    token: str

    def request(self, method: str, path: str, **options: Any) -> Answer:
        certificate = self.machine.root / f"etc/letsencrypt/live/{HOST}/fullchain.pem"
        headers = {"Origin": "https://dashboard.example", "Host": HOST, **options.pop("headers", {})}
        # A connection of its own for each: nobody's idle one is in the way.
        headers |= {"Authorization": f"Bearer {self.token}", "Connection": "close"}
        trusted = ssl.create_default_context(cafile=str(certificate))
        with urllib3.HTTPSConnectionPool(
            "127.0.0.1", 443, ssl_context=trusted, server_hostname=HOST, assert_hostname=HOST
        ) as pool:
            response = pool.request(method, path, headers=headers, retries=False, timeout=60, **options)
        return Answer.of(response)

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def main_pid(self, service: str) -> int:
        """Return the process id of a service, 0 while it has none."""
        return int(self.machine.run(f"systemctl show --property MainPID --value {service}"))

    def file_of_process(self, service: str, name: str) -> str:
        return self.machine.run(f"tr '\\0' '\\n' < /proc/{self.main_pid(service)}/{name}")


def type_the_guide(machine: Machine, ultravox_url: str) -> dict[str, str]:
    """Type all blocks in their order into one shell; return the variables that they leave in it."""
    blocks = guide.blocks_below("From a bare Debian")
    [environment] = [place for place, block in enumerate(blocks) if "processor.env" in block and "install" in block]
    # What is not in the guide: which repository, where the stand-in of Ultravox is, and patience with a busy machine.
    blocks.insert(1, "repository=/srv/historical-sync.git")
    blocks.insert(environment + 2, f"echo ULTRAVOX_API_URL={ultravox_url} >> /etc/historical-sync/processor.env")
    blocks.insert(environment + 3, "echo DATABASE_POOL_TIMEOUT=15 >> /etc/historical-sync/web.env")
    blocks += guide.blocks_below("Agencies, users and keys without Supabase")
    left = 'printf \'\\n%s\' "agency=$agency" "token=$token"'
    return dict(line.split("=", 1) for line in machine.run("\n".join([*blocks, left])).splitlines()[-2:])


def publish(source: Path) -> None:
    """Make the present commit the branch that the machine clones and pulls."""
    call("git", "init", "--quiet", "--bare", "--initial-branch=main", source)
    call("git", "-C", ROOT, "push", "--quiet", source, "HEAD:refs/heads/main")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("machine")
    machine = Machine(folder / "root")
    try:
        machine.build(guide.packages())
        publish(machine.root / "srv/historical-sync.git")
        install(machine.root / "usr/local/bin/certbot", CERTBOT, 0o755)
        install(machine.root / "root/ultravox-key-of-acme", ULTRAVOX_KEY, 0o600)
        with (machine.root / "etc/hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 localhost {HOST}\n")
        leave_the_network()
        machine.boot()
        calls = demo_calls(CALLS, seed=7, until=datetime.now(UTC))
        with StandinServer({ULTRAVOX_KEY: calls}) as ultravox:
            left = type_the_guide(machine, ultravox.url)
            yield Site(machine, machine.root / "srv/historical-sync.git", left["agency"], left["token"])
            machine.shut_down()
    finally:
        machine.destroy()
        shutil.rmtree(folder)


def install(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)


@contextmanager
def load(site: Site) -> Iterator[list[Answer]]:
    """Four clients that poll and, by turns, cancel a job that is not there; what they got is the list."""
    seen: list[Answer] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.05):
            seen.append(site.get(STATUS))
            seen.append(site.request("POST", "/cancel-historical-sync", json={"job_id": site.agency_id}))

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(ask) for _ in range(4)]
        try:
            yield seen
        finally:
            done.set()
        for client in clients:
            client.result()


def assert_none_was_lost(seen: list[Answer]) -> None:
    outcomes = Counter((answer.status, (answer.body or {}).get("code")) for answer in seen)
    assert outcomes.keys() == {(200, None), (404, "job_not_found")}, outcomes


def assert_nginx_error(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body["code"] == code
    assert answer.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert answer.headers.getlist("Strict-Transport-Security") == ["max-age=31536000"]
    assert len(answer.headers.getlist("X-Request-ID")) == 1


def test_the_service_answers_over_https_and_imports_what_the_guide_started(site: Site) -> None:
    wait_until(lambda: not site.get(STATUS).body["active"])
    job = site.get(STATUS).body["recent_job"]
    assert (job["status"], job["imported_calls"], job["verification"]) == ("completed", CALLS, "verified"), job


def test_what_is_not_encrypted_is_sent_on_and_what_is_has_http_2(site: Site) -> None:
    sent_on = urllib3.request("POST", "http://127.0.0.1" + START, headers={"Host": HOST}, redirect=False)
    assert (sent_on.status, sent_on.headers["Location"]) == (308, f"https://{HOST}{START}")
    assert site.machine.run(f"curl -s -o /dev/null -w '%{{http_version}}' https://{HOST}/healthz") == "2"
    answer = site.get("/healthz")
    assert answer.headers.getlist("Strict-Transport-Security") == ["max-age=31536000"]


def test_nothing_is_installed_but_what_production_runs(site: Site) -> None:
    installed = names_in(site.machine.run("/opt/historical-sync/.venv/bin/pip freeze --disable-pip-version-check"))
    assert installed - {"psycopg-binary"} == names_in((ROOT / "requirements.txt").read_text())


def names_in(requirements: str) -> set[str]:
    """Return the names of packages, in the one way of the several in which they can be written."""
    names = re.findall(r"^([\w.-]+)(?:\[.*\])?==", requirements, re.M)
    return {re.sub("[-_.]+", "-", name).lower() for name in names}


def test_systemd_and_nginx_find_nothing_to_remark(site: Site) -> None:
    units = "historical-sync-web.socket historical-sync-web.service historical-sync-processor.service"
    assert site.machine.run(f"cd /etc/systemd/system && systemd-analyze verify {units} 2>&1") == ""
    assert "warn" not in site.machine.run("nginx -t 2>&1")


@pytest.mark.parametrize("path", ANSWERS_404)
def test_nothing_but_the_functions_is_open_to_the_outside(site: Site, path: str) -> None:
    assert_nginx_error(site.get(path), 404, "not_found")


def test_what_nginx_refuses_it_refuses_in_json(site: Site) -> None:
    assert_nginx_error(site.request("TRACE", START), 405, "method_not_allowed")
    assert_nginx_error(site.request("POST", START, body=b"x" * 16385), 413, "body_too_large")
    plain = urllib3.request("GET", "http://127.0.0.1:443/healthz", headers={"Host": HOST})
    assert (plain.status, plain.json()["code"]) == (400, "bad_request")
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: site.request("POST", START, json={"wrong": 1}), range(120)))
    refused = [answer for answer in answers if answer.status == 429]
    assert refused, "sixty at once are let through, and ten a second"
    assert_nginx_error(refused[0], 429, "rate_limited")


def test_while_the_service_is_down_nginx_says_so_in_json(site: Site) -> None:
    site.machine.run("systemctl stop historical-sync-web.socket historical-sync-web")
    try:
        assert_nginx_error(site.get("/healthz"), 502, "gateway_unavailable")
    finally:
        site.machine.run("systemctl start historical-sync-web")
    assert site.get(STATUS).status == 200


def test_nginxs_errors_are_for_the_origins_that_the_site_lists(site: Site) -> None:
    file = "/etc/nginx/sites-available/historical-sync"
    site.machine.run(
        f'sed -i \'s#default "\\*";#default "https://a.example, https://b.example";#\' {file}; nginx -s reload'
    )
    wait_until(lambda: "Access-Control-Allow-Origin" not in site.get("/nothing").headers)
    listed = site.request("GET", "/nothing", headers={"Origin": "https://b.example"})
    assert listed.headers["Access-Control-Allow-Origin"] == "https://b.example"
    site.machine.run(f'sed -i \'s#default "https.*";#default "*";#\' {file}; nginx -s reload')
    wait_until(lambda: site.get("/nothing").headers.get("Access-Control-Allow-Origin") == "*")


@pytest.mark.parametrize("service", ["historical-sync-web", "historical-sync-processor"])
def test_a_service_has_no_privilege_and_cannot_read_the_secrets_of_others(site: Site, service: str) -> None:
    status = dict(
        line.split(":\t", 1) for line in site.file_of_process(service, "status").splitlines() if ":\t" in line
    )
    assert status["Uid"].split()[1] != "0"
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    mine = service.removeprefix("historical-sync-")
    for name in {"owner", "web", "processor"} - {mine}:
        assert site.machine.refuses(
            f"setpriv --reuid {service} --init-groups --regid {service} cat /etc/historical-sync/{name}.env"
        )
        assert site.machine.run(f"wc -c < /etc/historical-sync/{name}.env").strip() != "0"


def test_each_service_has_only_the_secrets_that_it_needs(site: Site) -> None:
    web = site.file_of_process("historical-sync-web", "environ")
    processor = site.file_of_process("historical-sync-processor", "environ")
    secrets = {"DATABASE_URL", "PROCESSOR_DATABASE_URL", "SUPABASE_JWT_SECRET", "CREDENTIALS_KEY", "OWNER_DATABASE_URL"}
    assert secrets & set(re.findall("^[A-Z_]+", web, re.M)) == {"DATABASE_URL", "SUPABASE_JWT_SECRET"}
    assert secrets & set(re.findall("^[A-Z_]+", processor, re.M)) == {"PROCESSOR_DATABASE_URL", "CREDENTIALS_KEY"}


def test_the_counts_of_all_workers_are_to_be_had_inside(site: Site) -> None:
    metrics = urllib3.request("GET", "http://127.0.0.1:8000/metrics")
    assert metrics.status == 200
    assert b"historical_sync_http_request_duration_seconds_count" in metrics.data


@pytest.mark.parametrize("service", ["historical-sync-web", "historical-sync-processor"])
def test_a_killed_service_comes_back_by_itself(site: Site, service: str) -> None:
    before = site.main_pid(service)
    assert before, "a kill of 0 would end this process"
    site.machine.run(f"kill -9 {before}")
    wait_until(lambda: site.main_pid(service) not in (0, before))
    assert site.get(STATUS).status == 200


def test_reloads_lose_no_request(site: Site) -> None:
    master = site.main_pid("historical-sync-web")
    with load(site) as seen:
        for _ in range(3):
            reload(site, master)
            wait_for_answers(seen)
    assert_none_was_lost(seen)
    assert site.main_pid("historical-sync-web") == master


def reload(site: Site, master: int) -> None:
    """Return once all workers are new."""
    workers = workers_of(site, master)
    site.machine.run("systemctl reload historical-sync-web")
    wait_until(lambda: not workers & workers_of(site, master))


def workers_of(site: Site, master: int) -> set[str]:
    return set(site.machine.run(f"cat /proc/{master}/task/{master}/children").split())


def wait_for_answers(seen: list[Answer]) -> None:
    enough = len(seen) + 50
    wait_until(lambda: len(seen) > enough)


def test_a_new_version_is_deployed_without_losing_a_request(site: Site, tmp_path: Path) -> None:
    """Also where it changes what gunicorn's master has loaded: a setting, and its use."""
    change_the_source(site, tmp_path)
    [deploy] = guide.blocks_below("Deploy a new version")
    with load(site) as seen:
        wait_for_answers(seen)
        site.machine.run(deploy)
        wait_for_answers(seen)
    assert_none_was_lost(seen)
    assert site.get("/healthz").body == {"status": "new"}


def change_the_source(site: Site, folder: Path) -> None:
    call("git", "clone", "--quiet", site.source, folder / "clone")
    clone = folder / "clone"
    replace(clone / "service/settings.py", "    sync_page: ", '    is_new: str = "new"\n    sync_page: ')
    replace(
        clone / "service/web/health.py",
        "jsonify(Health())",
        'jsonify({"status": __import__("service.settings").settings.load_settings().is_new})',
    )
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    call("git", "-C", clone, *author, "commit", "--quiet", "--all", "--message", "Say that it is new")
    call("git", "-C", clone, "push", "--quiet", "origin", "HEAD:main")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_after_a_reboot_all_is_there_without_a_command(site: Site) -> None:
    site.machine.run(f"historical-sync start-historical-sync {site.agency_id} --date-from 2020-01-01")
    site.machine.shut_down()
    site.machine.boot()
    wait_until(lambda: site.get(STATUS).status == 200)
    wait_until(lambda: not site.get(STATUS).body["active"])
    job = site.get(STATUS).body["recent_job"]
    assert (job["status"], job["imported_calls"] + job["skipped_calls"]) == ("completed", CALLS)


def test_a_processor_by_cron_works_with_the_environment_that_cron_gives_it(site: Site) -> None:
    site.machine.run("systemctl disable --now historical-sync-processor")
    [line] = guide.blocks_below("A processor by cron")
    site.machine.run("mkdir -p /etc/cron.d\n" + line)
    assert site.request("POST", START, json={}).status == 200
    *_, user, command = site.machine.run("cat /etc/cron.d/historical-sync").strip().split(" ", 6)
    assert user == "root"
    said = site.machine.run(f"env --ignore-environment PATH=/usr/bin:/bin HOME=/root /bin/sh -c '{command}'")
    assert json.loads(said.splitlines()[-1])["results"][0]["status"] == "completed"
    site.machine.run("systemctl enable --now historical-sync-processor")
