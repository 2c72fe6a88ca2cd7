"""What nginx answers of its own is what the service says, and it passes on what the service has."""

import json
import re
import textwrap
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from service.web import cors
from service.web.errors import TOO_LARGE_TEXTS, ErrorCode
from service.web.openapi import build_document
from service.web.operations import OPERATIONS, PREFIX, Operation
from tests.support.paths import ROOT

# What the compose stack's server and the site of a Debian machine share, as it stands in either of them.
SHARED = ROOT / "deploy/nginx/historical-sync"
TEMPLATE = (SHARED / "http.conf").read_text() + textwrap.indent((SHARED / "server.conf").read_text(), "    ")
# `location`, what it is of as a regular expression, and what is in it.
LOCATIONS = [
    (f"{name}$" if sign == "= " else name, body)
    for sign, name, body in re.findall(
        r"^    location ([=~] )?(\S+) \{\n(.*?)^    \}", TEMPLATE, re.MULTILINE | re.DOTALL
    )
]
PAGES = {name.rstrip("$"): body for name, body in LOCATIONS if "include historical-sync/error.conf" in body}
FOR_THE_INSIDE = {"/metrics", "/readyz"}


def answers_of_its_own() -> Iterator[tuple[int, ErrorCode]]:
    """Each status that nginx answers itself, with the code of its page."""
    for line in re.findall(r"^    error_page ([^;]+);", TEMPLATE, re.MULTILINE):
        *statuses, page = line.split()
        [word] = re.findall(r'"code":"(\w+)"', PAGES[page])
        changed = [each.removeprefix("=") for each in statuses if each.startswith("=")]
        yield from ((int(status), ErrorCode(word)) for status in changed or statuses)


def answers_to(path: str) -> set[tuple[int, ErrorCode]]:
    """Those of them that a request of this path can get."""
    # Of the locations here that fit, nginx takes the longest.
    _, body = max((it for it in LOCATIONS if re.match(it[0], path)), key=lambda it: len(it[0]))
    needs = {
        ErrorCode.NOT_FOUND: "return 404;",
        ErrorCode.RATE_LIMITED: "limit_req ",
        ErrorCode.GATEWAY_UNAVAILABLE: "proxy_pass ",
        ErrorCode.GATEWAY_TIMEOUT: "proxy_pass ",
    }
    return {(status, code) for status, code in answers_of_its_own() if needs.get(code, "") in body}


def variable(name: str) -> set[str]:
    """The values that a `map` gives to a variable."""
    [block] = re.findall(rf"^map \S+ \${name} \{{\n(.*?)^\}}", TEMPLATE, re.MULTILINE | re.DOTALL)
    return set(re.findall(r'"([^"]*)";$', block, re.MULTILINE))


@pytest.mark.parametrize("name", PAGES)
def test_each_error_has_the_status_text_members_and_retry_after_of_the_table(name: str) -> None:
    [(status, text)] = re.findall(r"return (\d+) '(.*)\\n';", PAGES[name])
    body = json.loads(text)
    code = ErrorCode(body["code"])

    assert int(status) == code.status
    assert list(body) == ["error", "code", *code.carries]
    assert re.findall(r"Retry-After (\S+) always", PAGES[name]) == [str(code.retry_after)] * bool(code.retry_after)
    if code is ErrorCode.BAD_REQUEST:
        assert body == {"error": "$malformed", "code": "bad_request", "fields": {}}
    else:
        assert body["error"] == code.text + " Use $method_to_use." * (code is ErrorCode.METHOD_NOT_ALLOWED)


def test_the_pages_are_of_these_codes_and_no_other() -> None:
    assert {word for page in PAGES.values() for word in re.findall(r'"code":"(\w+)"', page)} == {
        *("bad_request", "not_found", "method_not_allowed", "body_too_large", "rate_limited"),
        *("internal_error", "gateway_unavailable", "gateway_timeout"),
    }


def test_each_page_is_for_statuses_that_the_table_has_for_its_code() -> None:
    assert all(status in code.statuses for status, code in answers_of_its_own())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_whatever_it_answers_itself_is_in_the_description_of_the_api(operation: Operation) -> None:
    described = {
        (int(status), ErrorCode(word))
        for status, response in build_document()["paths"][operation.path][operation.method]["responses"].items()
        for word in re.findall(r"#/components/schemas/([a-z_]+)'", str(response.get("content", "")))
    }
    answered = answers_to(operation.path)

    assert answered <= described
    assert {it for it in described if it[1].meaning.startswith("nginx:")} <= answered
    if operation.needs_token:
        assert answers_to(operation.path.removeprefix(PREFIX)) == answered


def test_what_is_too_large_is_refused_with_the_services_sentence() -> None:
    assert variable("malformed") == {ErrorCode.BAD_REQUEST.text, *TOO_LARGE_TEXTS.values()}
    for status, text in TOO_LARGE_TEXTS.items():
        assert f'{status} "{text}";' in TEMPLATE


def test_the_cors_lists_are_the_services() -> None:
    assert variable("cors_methods") == {"", cors.ALLOWED_METHODS}
    assert variable("cors_headers") == {"", cors.ALLOWED_HEADERS}
    assert variable("cors_expose") == {"", cors.EXPOSED_HEADERS}


def test_it_passes_on_every_route_but_those_for_the_inside_and_names_no_other(
    make_app: Callable[..., Flask],
) -> None:
    app = make_app(sync_page="on")
    passing = [name for name, body in LOCATIONS if "proxy_pass" in body]
    routes = {rule.rule for rule in app.url_map.iter_rules()}
    passed = {route for route in routes if any(re.match(pattern, route) for pattern in passing)}
    named = {
        f"/{word}" for word in re.findall(r"[\w-]+(?:\\\.json)?", "".join(re.findall(r"/\((.+)\)\$", "".join(passing))))
    }

    assert passed == routes - FOR_THE_INSIDE
    assert {each.replace("\\", "") for each in named} <= routes


def test_it_knows_the_method_of_every_route(make_app: Callable[..., Flask]) -> None:
    app = make_app(sync_page="on")
    [post] = re.findall(r'"~(\S+)" POST;', TEMPLATE)
    for rule in app.url_map.iter_rules():
        assert bool(re.match(post, rule.rule)) == ("POST" in (rule.methods or ()))
