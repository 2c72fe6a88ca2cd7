"""Pages in Chromium, driven as a person does: things on them are found by their role and name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pytest

from tests.clients.clients import Program

Chain = list[list[Any]]


class Driver:
    """The program behind the pages."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.opened: list[Page] = []

    def __call__(self, command: str, **given: Any) -> Any:
        outcome = self._program.ask({"command": command, **given})
        if "error" in outcome:
            pytest.fail(f"{command} {given}: {outcome['error']}")
        return outcome["value"]

    def open(self, url: str, **options: Any) -> "Page":
        """Open a page in a profile of its own; the options are those of Playwright's browser context."""
        return self._note(self("open", url=url, options=options))

    def tab(self, beside: "Page", url: str) -> "Page":
        return self._note(self("tab", beside=beside.number, url=url))

    def close(self) -> None:
        """Close all pages, and forget them."""
        self.opened.clear()
        self("close")

    def _note(self, number: int) -> "Page":
        self.opened.append(Page(self, number))
        return self.opened[-1]


@dataclass(frozen=True)
class Element:
    """What is found on a page: waited for, where something is done with it."""

    page: "Page"
    chain: Chain

    def _do(self, name: str, *given: Any) -> Any:
        return self.page.do([*self.chain, [name, *given]])

    def role(self, role: str, name: str | None = None) -> "Element":
        return Element(self.page, [*self.chain, _by_role(role, name)])

    def css(self, selector: str) -> "Element":
        return Element(self.page, [*self.chain, ["locator", selector]])

    def having(self, text: str) -> "Element":
        return Element(self.page, [*self.chain, ["filter", {"hasText": text}]])

    def nth(self, number: int) -> "Element":
        return Element(self.page, [*self.chain, ["nth", number]])

    @property
    def last(self) -> "Element":
        return self.nth(-1)

    def wait(self) -> Self:
        self._do("waitFor")
        return self

    def wait_until_gone(self) -> None:
        self._do("waitFor", {"state": "detached"})

    def click(self) -> None:
        self._do("click")

    def fill(self, text: str) -> None:
        self._do("fill", text)

    def focus(self) -> None:
        self._do("focus")

    @property
    def text(self) -> str:
        return str(self._do("innerText"))

    @property
    def texts(self) -> list[str]:
        """Of all that are there now."""
        return list(self._do("allInnerTexts"))

    @property
    def value(self) -> str:
        return str(self._do("inputValue"))

    def attribute(self, name: str) -> str | None:
        value: str | None = self._do("getAttribute", name)
        return value

    def count(self) -> int:
        return int(self._do("count"))


@dataclass(frozen=True)
class Page:
    driver: Driver
    number: int

    def do(self, chain: Chain) -> Any:
        return self.driver("do", page=self.number, chain=chain)

    def tab(self, url: str) -> "Page":
        """Open another page in the same profile."""
        return self.driver.tab(self, url)

    def role(self, role: str, name: str | None = None) -> Element:
        return Element(self, [_by_role(role, name)])

    def label(self, text: str) -> Element:
        return Element(self, [["getByLabel", text, {"exact": True}]])

    def css(self, selector: str) -> Element:
        return Element(self, [["locator", selector]])

    def button(self, name: str) -> Element:
        return self.role("button", name)

    def says(self, text: str) -> None:
        """Wait until the page's status says it."""
        self.role("status").having(text).wait()

    def alerts(self, text: str) -> None:
        """Wait until an alert says it."""
        self.role("alert").having(text).nth(0).wait()

    def evaluate(self, expression: str) -> Any:
        return self.do([["evaluate", expression]])

    def reload(self) -> None:
        self.do([["reload"]])

    def come_back(self) -> None:
        """Turn to this page again, as from another tab."""
        self.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    def press(self, key: str) -> None:
        self.do([["keyboard"], ["press", key]])

    @property
    def focused(self) -> str:
        """The name of what has the focus."""
        return str(self.evaluate("(it => it.ariaLabel || it.textContent.trim() || it.tagName)(document.activeElement)"))

    def look(self, width: int, colours: str) -> None:
        self.do([["setViewportSize", {"width": width, "height": 900}]])
        self.do([["emulateMedia", {"colorScheme": colours, "reducedMotion": "reduce"}]])

    @contextmanager
    def holding(self, pattern: str) -> Iterator[None]:
        """While the block runs, requests to addresses like this wait."""
        self.driver("hold", page=self.number, pattern=pattern)
        try:
            yield
        finally:
            self.driver("release", page=self.number, pattern=pattern)

    @property
    def violations(self) -> list[str]:
        """What axe objects to."""
        return list(self.driver("axe", page=self.number))

    @property
    def requests(self) -> list[str]:
        """Each request that the page has made: its method and address."""
        return list(self.driver("noted", page=self.number)["requests"])

    @property
    def errors(self) -> list[str]:
        """What has gone wrong in the page: exceptions, what its policy forbids, what it says on the console."""
        return list(self.driver("noted", page=self.number)["errors"])


def _by_role(role: str, name: str | None) -> list[Any]:
    return ["getByRole", role, {"name": name, "exact": True} if name else {}]
