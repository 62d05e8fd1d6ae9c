"""A browser's page of the console, and what it should not have done."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Response, expect

PATIENCE_MS = 60_000
"""An absurd time, which no busy machine reaches."""

expect.set_options(timeout=PATIENCE_MS)


class Visit:
    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE_MS)
        self.address = address
        self.complaints: list[str] = []
        host = urlsplit(address).netloc
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("request", lambda asked: self._check_host(asked.url, host))

    def _check_host(self, url: str, host: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != host:
            self.complaints.append(f"asked {url}")

    def go(self, path: str) -> Response:
        """Open a page and wait until it is there and follows what happens."""
        answer = self.page.goto(f"{self.address}{path}")
        self.wait()
        assert answer is not None
        return answer

    def wait(self) -> None:
        """Wait until a page is there and follows what happens."""
        self.page.wait_for_function("window.socket?.connected && document.querySelector('#page > *')")


def visiting(context: BrowserContext, address: str) -> Iterator[Visit]:
    visit = Visit(context.new_page(), address)
    yield visit
    visit.page.close()
    assert visit.complaints == []
