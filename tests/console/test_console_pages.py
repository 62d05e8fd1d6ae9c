"""The console in a browser: headless Chromium, a real learner and a gateway with the fake engine."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect
from roadshift.v1 import operations_pb2 as pb

from adaptation.console.pages.label_page import KEYS, UNSURE_KEY
from adaptation.control.rounds.fake_worker import ENDLESS
from adaptation.control.rounds.round_state import Phase, RoundBook, read_round
from exchange.label_space import CLASS_NAMES
from exchange.plan.serving_plan import DomainPlan, read_plan
from exchange.regions.batches import read_batches
from exchange.registry import publish
from exchange.registry.audit import read_audit
from tests.console.browsing import PATIENCE_MS, Visit, visiting
from tests.console.conftest import TOKENS, Deployed
from tests.console.deployment import STARTER, leave_captured
from tests.service.unreadable_frames import DAMAGES, damage

PLACES = ("/", "/frames", "/rounds", "/releases", "/prior?domain=sim-dusk", "/labels", "/label", "/audit")


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
    yield from visiting(entered("operator"), deployed.address)


@pytest.fixture
def reader(entered: Callable[[str], BrowserContext], deployed: Deployed) -> Iterator[Visit]:
    """A viewer's."""
    yield from visiting(entered("viewer"), deployed.address)


def served(deployed: Deployed, domain: str) -> DomainPlan:
    stored = read_plan(deployed.root)
    assert stored is not None
    return stored.plan.of(domain)


@pytest.mark.parametrize("place", PLACES)
def test_every_page_is_there_and_fits_a_phone(visit: Visit, place: str) -> None:
    visit.go(place)
    visit.page.set_viewport_size({"width": 360, "height": 740})
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize(
    ("place", "status", "says"),
    [
        ("/nowhere", 404, "There is no such page"),
        ("/rounds/nowhere", 404, "There is no such page"),
        ("/rounds/0123456789abcdef", 404, "There is no such round"),
        ("/report/0123456789abcdef", 404, "This round has no report"),
        ("/frame?shard=frames/a/b/c&key=d", 404, "This frame is gone"),
        ("/frame?shard=frames/a/b/c", 422, "key: it is missing."),
        ("/frames?most=little", 422, "most: 'little' does not belong there."),
    ],
)
def test_an_address_where_nothing_is_says_so_and_leads_back(visit: Visit, place: str, status: int, says: str) -> None:
    assert visit.go(place).status == status
    visit.complaints = [said for said in visit.complaints if f"status of {status}" not in said]
    expect(visit.page.locator(".nothing")).to_contain_text(says)
    visit.page.get_by_role("link", name="Back to what is served now").click()
    expect(visit.page.locator("h1")).to_have_text("Now")


@pytest.mark.parametrize("place", ["/frames", "/prior", "/labels"])
def test_a_domain_that_is_not_there_is_told(visit: Visit, place: str) -> None:
    visit.go(f"{place}?domain=sim-fog")
    expect(visit.page.get_by_role("status").first).to_contain_text("There is no domain 'sim-fog' here; this is ")


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
    visit.wait()
    visit.page.keyboard.press("Tab")
    visit.page.wait_for_function("getComputedStyle(document.activeElement).outlineStyle != 'none'")


def test_a_round_is_started_and_watched_to_its_end_and_rolled_back(visit: Visit, deployed: Deployed) -> None:
    page = visit.page
    visit.go("/rounds")
    expect(page.locator(".form")).to_contain_text("sim-dusk: ")
    page.get_by_role("button", name="Start the round").press("Enter")
    effect = "sim-dusk: the learner's machine learns by the recipe tiny, as long as the recipe says"
    expect(page.locator(".effect")).to_contain_text(effect)
    expect(page.locator(".ask input")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".effect")).to_have_count(0)
    expect(page.get_by_role("button", name="Start the round")).to_be_focused()
    assert RoundBook(deployed.root).all() == []
    page.get_by_role("button", name="Start the round").click()
    page.locator(".ask input").fill("to <b>watch</b> it")
    page.get_by_role("button", name="Start it").click()
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
    page.get_by_label("who, what, or where").fill("start round")
    started = page.locator(".line", has_text="recipe").first
    expect(started).to_contain_text("to <b>watch</b> it")
    expect(started).to_contain_text("tiny")


def test_a_release_is_served_at_once_only_with_a_reason(visit: Visit, deployed: Deployed) -> None:
    page, version = visit.page, publish(deployed.root, STARTER, by="ann", origin="added", parent=1).version
    before = served(deployed, "sim-day").serving
    visit.go("/releases")
    page.locator("summary", has_text=f"version {version}").click()
    page.get_by_label(f"promote version {version}").click()
    page.locator(".ask .choice").click()
    page.get_by_role("option", name="sim-day").click()
    page.get_by_role("radio", name="serve it at once, untried").click()
    page.get_by_role("button", name="Next").click()
    expect(page.locator(".effect")).to_have_text(
        f"sim-day: version {version} is served in place of {before}, on 1 gateway, at once and untried"
    )
    page.get_by_role("button", name="Serve it at once").click()
    expect(page.get_by_role("alertdialog")).to_contain_text("Say why: the audit keeps it")
    assert served(deployed, "sim-day").serving == before
    page.locator(".ask input").fill("to see it")
    page.keyboard.press("Enter")
    expect(page.locator(".q-notification")).to_contain_text(f"version {version} is served in sim-day")
    assert served(deployed, "sim-day").serving == version
    page.get_by_label("roll back sim-day").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Roll back").click()
    expect(page.locator(".q-notification", has_text="sim-day is rolled back")).to_be_visible()
    assert served(deployed, "sim-day").serving == before


def test_a_round_is_cancelled_after_a_question(visit: Visit, deployed: Deployed) -> None:
    page, stub, metadata = visit.page, deployed.learner.stub(), (("authorization", f"Bearer {TOKENS['operator']}"),)
    endless = stub.StartRound(pb.StartRoundRequest(domain="sim-dusk", seed=ENDLESS), metadata=metadata)
    visit.go("/rounds")
    page.get_by_role("button", name="Start the round").click()
    expect(page.locator(".effect")).to_contain_text("It waits for 1 round before it")
    page.get_by_role("button", name="Start it").click()
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
    border = page.locator(".split")
    middle = border.bounding_box()
    page.get_by_label("left, right").focus()
    page.keyboard.press("Home")
    begin = border.bounding_box()
    assert middle is not None
    assert begin is not None
    assert begin["x"] < middle["x"] - 100


def test_frames_are_filtered_by_class(visit: Visit) -> None:
    visit.go("/frames?domain=sim-dusk")
    expect(visit.page.locator(".frame-card").first).to_be_visible()
    visit.go("/frames?domain=sim-dusk&most=0.5")
    expect(visit.page.locator(".nothing")).to_contain_text("passes")


def test_a_frame_that_cannot_be_read_is_told_in_place_of_its_picture(visit: Visit, deployed: Deployed) -> None:
    leave_captured(deployed.root, "sim-snow", 3)
    damage(deployed.root, "sim-snow", DAMAGES["no bytes"], places=(1,))
    visit.go("/frames?domain=sim-snow")
    page = visit.page
    expect(page.locator(".frame-card")).to_have_count(3)
    expect(page.get_by_text("1 cannot be read and are left out")).to_be_visible()
    expect(page.locator(".frame-card .layers")).to_have_count(2)
    page.locator(".frame-card", has_text="cannot be read").click()
    page.wait_for_url(re.compile("/frame\\?"))
    expect(page.locator(".nothing")).to_contain_text("sim-snow-1")
    expect(page.locator(".layers")).to_have_count(0)


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
