"""The console in a browser: headless Chromium, a real learner and a gateway with the fake engine."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from roadshift.v1 import operations_pb2 as pb

from adaptation.console.pages.label_page import KEYS, UNSURE_KEY
from adaptation.service.fake_worker import ENDLESS
from adaptation.service.round_state import Phase, read_round
from exchange.audit import read_audit
from exchange.label_space import CLASS_NAMES
from exchange.regions import read_batches
from exchange.serving_plan import DomainPlan, read_plan
from tests.console.conftest import TOKENS, Deployed

CHROMIUM = shutil.which("chromium")
PLACES = ("/", "/frames", "/rounds", "/releases", "/prior?domain=sim-dusk", "/labels", "/label", "/audit")
WITHIN_S = 2.0
PATIENCE_MS = 10_000

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A browser's page, and what it should not have done."""

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

    def go(self, path: str) -> float:
        """How long it took until the page was there and followed what happens."""
        began_s = time.monotonic()
        self.page.goto(f"{self.address}{path}")
        self.page.wait_for_function("window.socket?.connected && document.querySelector('#page > *')")
        return time.monotonic() - began_s


@pytest.fixture(scope="module")
def entered(browser: Browser, deployed: Deployed) -> Iterator[Callable[[str], BrowserContext]]:
    """A browser's memory for each role, which has logged in by a link."""
    contexts: dict[str, BrowserContext] = {}

    def enter(role: str) -> BrowserContext:
        if role not in contexts:
            contexts[role] = browser.new_context(viewport={"width": 1440, "height": 900})
            contexts[role].new_page().goto(f"{deployed.address}/?token={TOKENS[role]}")
        return contexts[role]

    yield enter
    for context in contexts.values():
        context.close()


@pytest.fixture
def visit(entered: Callable[[str], BrowserContext], deployed: Deployed) -> Iterator[Visit]:
    """An operator's."""
    yield from visiting(entered("operator"), deployed)


@pytest.fixture
def reader(entered: Callable[[str], BrowserContext], deployed: Deployed) -> Iterator[Visit]:
    """A viewer's."""
    yield from visiting(entered("viewer"), deployed)


def visiting(context: BrowserContext, deployed: Deployed) -> Iterator[Visit]:
    visit = Visit(context.new_page(), deployed.address)
    yield visit
    visit.page.close()
    assert visit.complaints == []


def served(deployed: Deployed, domain: str) -> DomainPlan:
    stored = read_plan(deployed.root)
    assert stored is not None
    return stored.plan.of(domain)


@pytest.mark.parametrize("place", PLACES)
def test_every_page_is_there_in_two_seconds_and_fits_a_phone(visit: Visit, place: str) -> None:
    assert any(visit.go(place) < WITHIN_S for _ in range(2))
    visit.page.set_viewport_size({"width": 360, "height": 740})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("place", ["/rounds/0123456789abcdef", "/frame?shard=frames/a/b/c&key=d"])
def test_what_is_not_there_says_what_to_do(visit: Visit, place: str) -> None:
    visit.go(place)
    expect(visit.page.locator(".nothing").first).to_be_visible()


def test_only_what_changed_is_made_anew(visit: Visit) -> None:
    visit.go("/")
    gateway = visit.page.get_by_label("gateway gw-a")
    expect(gateway).to_contain_text("alive")
    gateway.evaluate("element => element.dataset.seen = 'before'")
    table = gateway.locator("tbody")
    frames = table.inner_text()
    expect(table).not_to_have_text(frames)
    expect(gateway).to_have_attribute("data-seen", "before")


def test_the_keyboard_leads_everywhere(visit: Visit) -> None:
    visit.go("/")
    visit.page.keyboard.press("r")
    expect(visit.page).to_have_url(re.compile("/rounds$"))
    visit.page.keyboard.press("Tab")
    focused = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert focused != "none"


def test_a_round_is_started_and_watched_to_its_end_and_rolled_back(visit: Visit, deployed: Deployed) -> None:
    page = visit.page
    visit.go("/rounds")
    expect(page.locator(".form")).to_contain_text("sim-dusk: ")
    page.get_by_role("button", name="Start the round").click()
    page.wait_for_url(re.compile("/rounds/[0-9a-f]{16}"))
    expect(page.locator(".strip .badge")).to_have_text("promoted", timeout=3 * PATIENCE_MS)
    expect(page.locator(".gate")).to_contain_text("a fake check")
    expect(page.locator(".events")).to_contain_text("is served")
    expect(page.locator(".chart canvas")).to_have_count(1)
    before = served(deployed, "sim-dusk")
    assert before.serving == 2

    visit.go("/releases")
    page.get_by_label("roll back sim-dusk").click()
    effect = "sim-dusk: version 1 is served again in place of 2, on 1 gateway"
    expect(page.locator(".effect")).to_have_text(effect)
    page.locator(".ask input").fill("to see it")
    page.locator(".ask").get_by_role("button", name="Roll back").click()
    expect(page.locator(".q-notification")).to_contain_text("sim-dusk is rolled back")
    after = served(deployed, "sim-dusk")
    assert (after.serving, after.previous) == (1, 2)
    told = read_audit(deployed.root)[-1]
    assert (told.what, told.domain, told.why) == ("rollback", "sim-dusk", "to see it")
    assert told.who.startswith("operator-")
    visit.go("/audit")
    expect(page.locator(".line").first).to_contain_text("rollback")


def test_a_round_is_cancelled_after_a_question(visit: Visit, deployed: Deployed) -> None:
    page, stub, metadata = visit.page, deployed.learner.stub(), (("authorization", f"Bearer {TOKENS['operator']}"),)
    endless = stub.StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=ENDLESS), metadata=metadata)
    visit.go("/rounds")
    page.get_by_role("button", name="Start the round").click()
    page.wait_for_url(re.compile("/rounds/[0-9a-f]{16}"))
    round_id = page.url.rpartition("/")[2]
    page.get_by_role("button", name="Cancel the round").click()
    expect(page.locator(".effect")).to_contain_text("The round in sim-dusk ends")
    page.get_by_role("button", name="Leave it as it is").click()
    expect(page.locator(".effect")).to_have_count(0)
    assert read_round(deployed.root, round_id).phase is Phase.QUEUED
    page.get_by_role("button", name="Cancel the round").click()
    page.locator(".ask").get_by_role("button", name="Cancel the round").click()
    expect(page.locator(".strip .badge")).to_have_text("cancelled")
    assert str(read_round(deployed.root, round_id).cancelled_by).startswith("operator-")
    stub.CancelRound(pb.CancelRoundRequest(id=endless.id), metadata=metadata)


def test_a_prior_is_frozen(visit: Visit, deployed: Deployed) -> None:
    page = visit.page
    visit.go("/prior?domain=sim-day")
    expect(page.locator("tbody tr")).to_have_count(len(CLASS_NAMES))
    page.get_by_role("button", name="Freeze").click()
    page.locator(".ask").get_by_role("button", name="Freeze").click()
    expect(page.get_by_role("button", name="Let it move")).to_be_visible()
    assert [entry.what for entry in read_audit(deployed.root)][-1] == "freeze-prior"


def test_a_label_is_given_by_key_and_taken_back(visit: Visit, deployed: Deployed) -> None:
    page = visit.page

    def answers() -> list[int]:
        batches = read_batches(deployed.root, "sim-dusk")
        return [opinion.label for batch in batches for task in batch.tasks for opinion in task.opinions]

    visit.go("/label?domain=sim-dusk")
    first = page.locator(".region img").get_attribute("src")
    page.keyboard.press(KEYS[13])
    expect(page.locator(".answers")).to_contain_text("1 answered; the last: car")
    assert answers() == [13]
    expect(page.locator(".region img")).not_to_have_attribute("src", first or "")
    page.locator("button.class", has_text="sky").click()
    expect(page.locator(".answers")).to_contain_text("2 answered; the last: sky")
    page.keyboard.press("z")
    expect(page.locator(".answers")).to_contain_text("taken back")
    assert answers() == [13]
    page.keyboard.press(UNSURE_KEY)
    expect(page.locator(".answers")).to_contain_text("2 answered; the last: unsure")
    assert answers() == [13, 255]


def test_versions_are_compared_on_a_frame(visit: Visit) -> None:
    page = visit.page
    visit.go("/frames?domain=sim-dusk")
    page.locator(".frame-card").first.click()
    page.wait_for_url(re.compile("/frame\\?"))
    page.locator(".choice", has_text="compare with").click()
    page.get_by_role("option", name="version 1").click()
    other = page.locator(".layers .other")
    expect(other).to_be_attached(timeout=6 * PATIENCE_MS)
    page.wait_for_function("document.querySelector('.layers .other').naturalWidth > 0")
    expect(page.get_by_role("status").first).to_contain_text("right: version 1")


def test_frames_are_filtered_by_class(visit: Visit) -> None:
    visit.go("/frames?domain=sim-dusk")
    expect(visit.page.locator(".frame-card").first).to_be_visible()
    visit.go("/frames?domain=sim-dusk&most=0.5")
    expect(visit.page.locator(".nothing")).to_contain_text("passes")


def test_without_the_operators_role_nothing_can_be_changed(reader: Visit) -> None:
    for place in ("/rounds", "/releases", "/prior?domain=sim-dusk", "/label", "/audit"):
        reader.go(place)
        expect(reader.page.locator(".who .badge")).to_have_text("read-only")
        assert reader.page.locator("#page button").count() == 0
    expect(reader.page.locator(".line").first).to_be_visible()


def test_strangers_are_asked_for_a_token(browser: Browser, deployed: Deployed) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{deployed.address}/releases")
    page.get_by_label("Token").fill(TOKENS["operator"])
    page.get_by_label("Your name").fill("ann")
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(re.compile("/releases$"))
    expect(page.locator(".who summary")).to_contain_text("ann")
    context.close()
