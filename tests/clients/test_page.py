"""The sync page as people use it: Chromium, gunicorn, a real database, a real processor and a stand-in Ultravox."""

import json
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
import urllib3

from service.local.standin import Fault
from tests.clients.installation import DEMO, EMAIL, MIDNIGHT, PASSWORD, Installation, OpenPage
from tests.clients.pages import Driver, Page
from tests.support.database import Sql, add_user
from tests.support.serving import Serve, Server, free_port
from tests.support.supabase_auth import SupabaseAuth
from tests.support.tokens import Tokens
from tests.support.waiting import wait_until

BARS = "[...document.querySelectorAll('figure [data-date]')].map((bar) => ({...bar.dataset}))"
NOTHING_YET, DONE = "Nothing has been imported yet.", "The last sync is completed and verified."
RUNNING_ALREADY = "A sync is running already, and only one can at a time"
STATUS = "**/functions/v1/get-sync-status*"


def start_everything(page: Page) -> None:
    page.says(NOTHING_YET)
    page.button("Everything").click()
    page.button("Start sync").click()


def under_way(page: Page) -> int:
    """Wait until something has arrived of a sync; return the percentage."""
    progress = page.css('[role="progressbar"][aria-label="Sync progress"]:not([aria-valuenow="0"])[aria-valuenow]')
    percent = int(progress.wait().attribute("aria-valuenow") or 0)
    assert 0 < percent < 100
    return percent


def bars(page: Page) -> dict[str, tuple[int, int | None, str]]:
    """What the chart has of each day: stored, counted at Ultravox, state."""
    return {
        bar["date"]: (int(bar["stored"]), int(bar["source"]) if bar["source"] else None, bar["state"])
        for bar in page.evaluate(BARS)
    }


def rows(page: Page) -> list[str]:
    """The rows of the history, each a line."""
    table = page.role("table", "History").wait()
    return [" ".join(row.split()) for row in table.css("tr[data-job]").texts]


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    """Go on with the keyboard until this has the focus."""
    for _ in range(60):
        page.press(key)
        if page.focused == name:
            return
    pytest.fail(f"the keyboard does not reach {name}")


class TestSync:
    def test_it_is_started_watched_and_completed_and_each_day_has_its_bar(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        demo.ultravox.let(4)
        demo.process()
        page = open_page(demo.url)
        page.role("heading", "Historical sync").wait()
        start_everything(page)

        percent = under_way(page)
        page.says("Importing calls.")
        assert page.button("Start sync").attribute("aria-disabled") == "true"
        page.reload()
        assert under_way(page) >= percent

        demo.ultravox.let(1000)
        page.says(DONE)
        assert page.role("progressbar").count() == 0
        page.css("p").having("120 calls from").having("complete").wait()
        stored = demo.stored_days()
        assert sum(stored.values()) == 120
        shown = {day: bar for day, bar in bars(page).items() if bar[0]}
        assert shown == {day: (count, count, "complete") for day, count in stored.items()}
        [row] = rows(page)
        assert "Completed" in row
        assert "Verified" in row
        assert "You" in row

    def test_the_days_exist_as_a_table_for_those_who_do_not_see_the_bars(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        demo.process()
        page = open_page(demo.url)
        start_everything(page)
        page.says(DONE)
        stored = demo.stored_days()

        table = page.role("table", "Calls per day, in UTC")
        cells = [row.split("\t") for row in table.css("tbody tr").texts]

        assert sum(int(here) for _, here, _, _ in cells) == sum(stored.values())
        assert sum(int(here) > 0 for _, here, _, _ in cells) == len(stored)

    def test_it_is_cancelled_in_mid_import_and_resumed(self, demo: Installation, open_page: OpenPage) -> None:
        demo.ultravox.let(4)
        demo.process()
        page = open_page(demo.url)
        start_everything(page)
        under_way(page)

        with page.holding("**/cancel-historical-sync"):
            page.button("Cancel").click()
            page.says("Cancelling…")
        page.says("The last sync was cancelled.")
        assert demo.job()["status"] == "cancelled"
        arrived = demo.job()["processed_calls"]

        page.button("Resume").click()
        under_way(page)
        demo.ultravox.let(1000)
        page.says(DONE)
        job = demo.job()
        assert (job["processed_calls"], job["status"]) == (120, "completed")
        assert 0 < arrived < 120
        assert len(rows(page)) == 1

    def test_a_preset_fills_in_the_days_and_a_wrong_order_is_told_before_anything_is_sent(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        page = open_page(demo.url)
        page.says(NOTHING_YET)
        today = MIDNIGHT.date()
        for name, days in (("Last 7 days", 6), ("Last 30 days", 29)):
            page.button(name).click()
            assert date.fromisoformat(page.label("To").value) >= today  # midnight may have passed
            assert date.fromisoformat(page.label("From").value) >= today - timedelta(days=days)

        page.label("From").fill("2026-02-02")
        page.label("To").fill("2026-02-01")
        assert "wrong way round" in page.css("#range-hint").text
        page.button("Start sync").click()
        page.alerts("The days are the wrong way round")
        page.button("Dismiss").click()
        assert page.role("alert").count() == 0
        assert not [request for request in page.requests if "start-historical-sync" in request]

    def test_a_sync_that_a_colleague_has_started_meanwhile_is_shown_in_the_place_of_a_refusal(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        page = open_page(demo.url)
        page.says(NOTHING_YET)
        with page.holding(STATUS):  # it must not learn of the other one before
            job_id = demo.ask("start-historical-sync", date_from="2026-01-01")["job_id"]
            page.button("Start sync").click()
            page.alerts(RUNNING_ALREADY)
            page.role("progressbar", "Sync progress").wait()
        page.button("Cancel").click()
        page.says("The last sync was cancelled.")
        assert (str(demo.job()["id"]), demo.job()["status"]) == (job_id, "cancelled")

    def test_two_tabs_show_the_same_sync(self, demo: Installation, open_page: OpenPage) -> None:
        demo.ultravox.let(4)
        demo.process()
        first = open_page(demo.url)
        start_everything(first)
        under_way(first)
        second = first.tab(f"{demo.url}/")
        under_way(second)

        second.button("Cancel").click()
        for page in (first, second):
            page.says("The last sync was cancelled.")
        second.button("Resume").click()
        second.role("progressbar", "Sync progress").wait()
        first.come_back()
        first.role("progressbar", "Sync progress").wait()
        demo.ultravox.let(1000)
        for page in (first, second):
            page.says(DONE)

    def test_a_day_is_chosen_and_synced_alone(self, demo: Installation, open_page: OpenPage) -> None:
        demo.process()
        page = open_page(demo.url)
        start_everything(page)
        page.says(DONE)
        day = demo.put_call(9, "a late one")
        before = demo.stored_days().get(day, 0)

        page.css(f'[data-date="{day}"]').click()
        page.button("Sync just this day").click()

        page.css(f'[data-date="{day}"][data-stored="{before + 1}"][data-state="complete"]').wait()
        page.says(DONE)
        job = demo.job()
        midnight = MIDNIGHT - timedelta(days=9)
        assert (job["date_from"], job["date_to"]) == (midnight, midnight + timedelta(days=1))
        assert (job["imported_calls"], job["skipped_calls"]) == (1, before)
        assert len(rows(page)) == 2

    def test_a_call_that_cannot_be_stored_is_a_gap_and_the_history_says_which_and_why(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        day = demo.put_call(5, "too long", billedDuration=f"{'9' * 200_000}s")
        demo.process()
        page = open_page(demo.url)
        start_everything(page)

        page.says("The last sync is completed, and some calls are missing.")
        page.css(f'[data-date="{day}"][data-state="missing"]').wait()
        assert [found for found, bar in bars(page).items() if bar[2] == "missing"] == [day]
        row = page.role("table", "History").css("tr[data-job]").having("1 call missing").wait()
        row.role("button").click()
        details = page.role("table", "History")
        details.css("li").having("too long").having("The call holds a value that cannot be stored.").wait()
        assert "A new sync of their days tries them again." in details.text
        assert str(demo.job()["id"]) in details.text

    def test_a_refused_key_is_told_with_what_to_do_and_a_resume_goes_on_once_it_is_mended(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        demo.ultravox.let(0)
        demo.process()
        page = open_page(demo.url)
        start_everything(page)
        page.role("progressbar", "Sync progress").wait()
        demo.ultravox.faults.queue += [Fault("status", 401, times=None)]
        demo.ultravox.let(1000)

        page.says("The last sync has failed.")
        page.css("section").having(demo.job()["error_message"]).having("then resume").wait()
        demo.ultravox.faults.queue.clear()
        page.button("Resume").click()
        page.says(DONE)

    def test_it_says_until_when_ultravox_has_asked_for_a_pause(self, demo: Installation, open_page: OpenPage) -> None:
        demo.ultravox.faults.queue += [Fault("status", 429, retry_after="900", times=None)]
        demo.process()
        page = open_page(demo.url)
        start_everything(page)

        page.says("Waiting; the next try is at")
        page.css("section").having("Ultravox asked for a pause (429).").having("Next try at").wait()
        page.button("Cancel").click()
        page.says("The last sync was cancelled.")


class TestAvailability:
    def test_the_service_is_stopped_in_mid_import_and_started_again(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        port = str(free_port())
        demo.ultravox.let(4)
        demo.process()
        with demo.serve(PORT=port, **DEMO) as server:
            page = open_page(server.url)
            start_everything(page)
            percent = under_way(page)
        page.alerts("The service does not answer.")
        page.says("The service does not answer.")
        assert under_way(page) >= percent  # what it has said last stays

        demo.ultravox.let(1000)
        wait_until(lambda: demo.job()["status"] == "completed")
        with demo.serve(PORT=port, **DEMO):
            page.says(DONE)
            assert page.role("alert").count() == 0

    def test_what_is_not_done_while_the_service_is_away_is_said(self, demo: Installation, open_page: OpenPage) -> None:
        port = str(free_port())
        with demo.serve(PORT=port, **DEMO) as server:
            page = open_page(server.url)
            page.says(NOTHING_YET)
        page.button("Start sync").click()
        page.alerts("The sync was not started. The service does not answer.")
        with demo.serve(PORT=port, **DEMO):
            page.alerts("The sync was not started. Try it again.")
            page.says(NOTHING_YET)
            page.button("Start sync").click()
            page.role("progressbar", "Sync progress").wait()

    def test_where_it_is_switched_off_nothing_is_there(self, app_server: Server) -> None:
        for path in ("/", "/sync-page/main.js", "/sync-page/config.json"):
            answer = urllib3.request("GET", app_server.url + path, retries=False)
            assert (answer.status, answer.json()["code"]) == (404, "not_found")

    def test_another_page_in_the_same_browser_cannot_sign_in_as_the_demo_user(
        self, demo: Installation, driver: Driver
    ) -> None:
        with SupabaseAuth() as elsewhere:
            page = driver.open(f"{elsewhere.url}/auth/v1/.well-known/jwks.json")
            route = json.dumps(f"{demo.url}/sync-page/demo-session")
            status = page.evaluate(f"fetch({route}, {{method: 'POST'}}).then(({{status}}) => status)")
            driver.close()
        assert status == 404


class TestSignIn:
    @pytest.fixture
    def server(self, auth: SupabaseAuth, serve: Serve) -> Iterator[Server]:
        key = auth.publishable_key
        with serve(SYNC_PAGE="on", SUPABASE_URL=auth.url, SUPABASE_PUBLISHABLE_KEY=key) as server:
            yield server

    @pytest.fixture
    def page(self, server: Server, auth: SupabaseAuth, open_page: OpenPage) -> Page:
        page = open_page(server.url, auth.url)
        page.says("Sign in to see your syncs.")
        return page

    def sign_in(self, page: Page, password: str = PASSWORD) -> None:
        page.label("Email").fill(EMAIL)
        page.label("Password").fill(password)
        page.button("Sign in").click()

    def test_a_wrong_password_is_told_and_the_right_one_opens_the_page_also_after_a_reload(
        self, page: Page, auth: SupabaseAuth
    ) -> None:
        self.sign_in(page, "wrong")
        page.alerts("This email and password do not match.")
        self.sign_in(page)
        page.says(NOTHING_YET)
        assert EMAIL in page.role("banner").text
        page.reload()
        page.says(NOTHING_YET)
        page.button("Start sync").click()
        page.role("progressbar", "Sync progress").wait()

        page.button("Sign out").click()
        page.says("Sign in to see your syncs.")
        assert page.role("progressbar").count() == 0
        assert (auth.grants("password", 400), auth.grants("password", 200)) == (1, 1)

    def test_a_token_that_runs_out_is_renewed_in_time(self, page: Page, auth: SupabaseAuth) -> None:
        auth.lifetime = 60  # so short that it is due at once
        self.sign_in(page)
        page.button("Start sync").click()
        page.role("progressbar", "Sync progress").wait()
        wait_until(lambda: auth.grants("refresh_token") >= 2)
        page.button("Cancel").click()
        page.says("The last sync was cancelled.")
        assert page.role("alert").count() == 0

    def test_a_token_that_the_service_takes_for_expired_is_renewed_and_the_call_made_again(
        self, page: Page, auth: SupabaseAuth
    ) -> None:
        auth.token_age = 2 * auth.lifetime  # as where the clocks differ
        self.sign_in(page)
        page.says(NOTHING_YET)
        assert auth.grants("refresh_token") == 1
        page.button("Start sync").click()
        page.role("progressbar", "Sync progress").wait()

    def test_who_has_been_signed_out_elsewhere_is_told_and_signs_in_again(self, page: Page, auth: SupabaseAuth) -> None:
        auth.lifetime = 2
        self.sign_in(page)
        page.button("Start sync").click()
        page.role("progressbar", "Sync progress").wait()
        auth.end_sessions()
        page.alerts("Your session has ended. Sign in again.")
        auth.lifetime = 3600
        self.sign_in(page)
        page.role("progressbar", "Sync progress").wait()

    def test_a_sign_in_that_is_away_is_waited_for(self, page: Page, auth: SupabaseAuth) -> None:
        auth.is_down = True
        self.sign_in(page)
        page.alerts("The sign-in does not answer.")
        auth.is_down = False
        self.sign_in(page)
        page.says(NOTHING_YET)

    def test_a_user_without_an_agency_is_told_whom_to_ask(self, page: Page, auth: SupabaseAuth, sql: Sql) -> None:
        auth.add_user(add_user(sql, None), EMAIL, PASSWORD)
        self.sign_in(page)
        page.alerts("Your account does not belong to an agency yet.")

    def test_where_it_is_not_set_up_it_says_what_is_missing(
        self, serve: Serve, open_page: OpenPage, tokens: Tokens
    ) -> None:
        with serve(SYNC_PAGE="on", SUPABASE_URL="") as server:
            page = open_page(server.url)
            page.alerts("SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY have to be set")


class TestAccessibility:
    def assert_sound(self, page: Page) -> None:
        """axe finds nothing and nothing sticks out, on a wide screen and a narrow one, in the light and in the dark."""
        for width in (1280, 360):
            for colours in ("light", "dark"):
                page.look(width, colours)
                assert page.violations == [], (width, colours)
            assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        page.look(1280, "light")

    def test_axe_finds_nothing_at_the_first_run_in_mid_import_and_afterwards(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        day = demo.put_call(5, "too long", billedDuration=f"{'9' * 200_000}s")
        demo.ultravox.let(4)
        demo.process()
        page = open_page(demo.url)
        page.says(NOTHING_YET)
        page.role("heading", "Bring your past calls here").wait()
        page.role("figure", "Calls per day").wait()
        self.assert_sound(page)

        start_everything(page)
        under_way(page)
        self.assert_sound(page)

        page.button("Cancel").click()
        page.says("The last sync was cancelled.")
        page.button("Start sync").click()
        demo.ultravox.let(1000)
        page.says("The last sync is completed, and some calls are missing.")
        page.css(f'[data-date="{day}"][data-state="missing"]').click()
        page.button("Sync just this day").wait()
        page.role("table", "History").css("tr[data-job]").having("1 call missing").role("button").click()
        page.css("li").having("too long").wait()
        self.assert_sound(page)
        page.button("As a table").click()
        self.assert_sound(page)

    def test_axe_finds_nothing_where_something_went_wrong(self, demo: Installation, open_page: OpenPage) -> None:
        port = str(free_port())
        demo.ultravox.faults.queue += [Fault("status", 401, times=None)]
        demo.process()
        with demo.serve(PORT=port, **DEMO) as server:
            page = open_page(server.url)
            start_everything(page)
            page.says("The last sync has failed.")
            self.assert_sound(page)
        page.button("Resume").click()
        page.alerts("The sync was not resumed.")
        page.alerts("The service does not answer.")
        self.assert_sound(page)

    def test_axe_finds_nothing_at_the_sign_in(self, sql: Sql, serve: Serve, open_page: OpenPage) -> None:
        with (
            SupabaseAuth() as auth,
            serve(SYNC_PAGE="on", SUPABASE_URL=auth.url, SUPABASE_PUBLISHABLE_KEY=auth.publishable_key) as server,
        ):
            page = open_page(server.url, auth.url)
            page.label("Email").fill(EMAIL)
            page.label("Password").fill("wrong")
            page.button("Sign in").click()
            page.alerts("This email and password do not match.")
            self.assert_sound(page)

    def test_the_keyboard_alone_is_enough_from_the_start_to_a_day(
        self, demo: Installation, open_page: OpenPage
    ) -> None:
        demo.ultravox.let(4)
        demo.process()
        page = open_page(demo.url)
        page.says(NOTHING_YET)
        tab_to(page, "Everything")
        page.press("Enter")
        tab_to(page, "Start sync")
        page.press("Enter")
        under_way(page)
        tab_to(page, "Cancel")
        page.press("Enter")
        page.says("The last sync was cancelled.")
        tab_to(page, "Resume")  # from where the button was
        page.press("Enter")
        under_way(page)
        demo.ultravox.let(1000)
        page.says(DONE)

        page.role("option").last.wait()
        for _ in range(60):
            page.press("Tab")
            if page.evaluate("document.activeElement.getAttribute('role')") == "option":
                break
        page.press("ArrowLeft")
        chosen = page.evaluate("document.activeElement.dataset.date")
        page.press("Enter")
        tab_to(page, "Sync just this day")
        page.press("Enter")
        wait_until(lambda: demo.job()["date_from"] and demo.job()["date_from"].date().isoformat() == chosen)
        page.says(DONE)


def test_the_history_shows_older_syncs_when_asked(demo: Installation, open_page: OpenPage) -> None:
    for _ in range(12):
        job_id = demo.ask("start-historical-sync")["job_id"]
        demo.ask("cancel-historical-sync", job_id=job_id)
    page = open_page(demo.url)
    assert len(rows(page)) == 10
    page.button("Show more").click()
    page.css("tr[data-job]").nth(11).wait()
    assert len(rows(page)) == 12


def test_what_is_asked_again_without_news_costs_a_304(
    demo: Installation, demo_server: Server, open_page: OpenPage
) -> None:
    page = open_page(demo.url)
    start_everything(page)
    page.says("Waiting to be taken up.")
    polls = len(polls_in(demo_server))
    wait_until(lambda: len(polls_in(demo_server)) >= polls + 3)
    assert set(polls_in(demo_server)[polls + 1 :]) == {304}


def test_these_tests_notice_what_a_page_does_wrong(demo: Installation, driver: Driver) -> None:
    page = driver.open(demo.url)
    page.says(NOTHING_YET)
    assert (page.errors, page.violations) == ([], [])
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://elsewhere.example/'}))")
    page.evaluate("setTimeout(() => { throw new Error('thrown') })")
    wait_until(lambda: any("thrown" in error for error in page.errors))
    assert any("forbidden: img-src http://elsewhere.example/" in error for error in page.errors)
    assert any("alternative text" in violation for violation in page.violations)
    driver.close()


def polls_in(server: Server) -> list[int]:
    """How each question for the status was answered."""
    requests = [json.loads(line) for line in server.log.read_text().splitlines() if '"event": "request"' in line]
    return [it["status"] for it in requests if it["path"].endswith("/get-sync-status")]
