"""The console over TLS, in states that are no everyday ones: nothing there yet, and the storage root away."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from adaptation.console.access import SESSION_COOKIE
from adaptation.console.pages.label_page import KEYS
from adaptation.control.labeling.desk import LabelDesk
from adaptation.control.labeling.progress import TaskSummary
from exchange.regions.batches import read_batches
from exchange.regions.tasks import new_batch_id
from exchange.storage import open_root
from exchange.storage.locations import PINS, region_batch_key
from exchange.storage.root import PATIENCE_S
from tests.console.browsing import Visit, visiting
from tests.console.conftest import FAST, TOKENS, Deployed, console_of
from tests.console.deployment import STARTER, leave_captured, leave_regions
from tests.service.learner_rig import LearnerProcess, until
from tests.tls_files import TlsFiles

EMPTY = {
    "/": "No gateway yet.",
    "/frames": "No captured frames yet.",
    "/rounds": "No round yet. Start one above",
    "/prior": "No estimate yet.",
    "/labels": "Nobody was asked for labels yet.",
    "/label": "Nobody was asked for labels yet. An operator has the learner choose regions",
    "/label?domain=sim-fog": "Nobody was asked for labels in 'sim-fog'.",
}


@pytest.fixture(scope="module")
def bare(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A learner with its first release, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    url, tls, tokens = f"file://{folder}/root", TlsFiles(folder), folder / "tokens"
    root = open_root(url)
    tokens.write_text("".join(f"{role} {token}\n" for role, token in TOKENS.items()))
    options = ("--tls-certificate", str(tls.certificate), "--tls-key", str(tls.key), "--token-file", str(tokens))
    with LearnerProcess(url, labelled, folder / "learner", "--release", str(STARTER), *options, *FAST) as learner:
        yield Deployed(root, learner, console_of(learner, "https"))


@pytest.fixture(scope="module")
def operator(browser: Browser, bare: Deployed) -> Iterator[BrowserContext]:
    context = browser.new_context(ignore_https_errors=True)
    context.new_page().goto(f"{bare.address}/?token={TOKENS['operator']}")
    yield context
    context.close()


@pytest.fixture
def visit(operator: BrowserContext, bare: Deployed) -> Iterator[Visit]:
    yield from visiting(operator, bare.address)


@contextmanager
def away(bare: Deployed) -> Iterator[None]:
    """The root's folder has another name."""
    here = Path(bare.root.url.removeprefix("file://"))
    there = here.rename(here.with_name("away"))
    try:
        yield
    finally:
        there.rename(here)


@pytest.mark.parametrize(("place", "says"), EMPTY.items())
def test_a_page_without_data_says_what_fills_it(visit: Visit, place: str, says: str) -> None:
    visit.go(place)
    expect(visit.page.locator("#page")).to_contain_text(re.compile(re.escape(says).replace(r"\ ", r"\s*")))


def test_over_tls_the_cookie_goes_nowhere_else(visit: Visit, operator: BrowserContext) -> None:
    visit.go("/audit")
    expect(visit.page.locator(".line").first).to_contain_text("the first plan")
    (cookie,) = [cookie for cookie in operator.cookies() if cookie.get("name") == SESSION_COOKIE]
    assert (cookie.get("secure"), cookie.get("httpOnly")) == (True, True)


def test_what_cannot_be_pressed_says_why(visit: Visit) -> None:
    visit.go("/releases")
    for button in visit.page.get_by_role("button", name=re.compile("^(roll back|reset) default: .+")).all():
        expect(button).to_be_disabled()
    expect(visit.page.locator(".line").first).to_contain_text("no version before it to roll back to")


def test_minutes_that_cannot_be_are_refused_until_the_next_question(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 844})
    visit.go("/rounds")
    notice = page.locator(".q-notification")
    for given, why in {
        "0": "give more than 0",
        "1e309": "'1e309' is too large: give 10080 or less",
        "a while": "is no number",
    }.items():
        page.get_by_label("minutes").fill(given)
        page.get_by_role("button", name="Start the round").click()
        expect(notice.filter(has_text=why)).to_have_count(1)
    expect(notice).to_have_count(1)  # the earlier ones have left
    expect(notice.get_by_role("button", name="Close")).to_have_css("color", "rgb(255, 255, 255)")
    page.get_by_label("minutes").fill("0.05")
    page.get_by_role("button", name="Start the round").click()
    expect(page.locator(".effect")).to_be_visible()
    expect(notice).to_have_count(0)
    page.get_by_role("button", name="Leave it as it is").click()


def test_who_may_only_look_is_not_told_to_press(browser: Browser, bare: Deployed) -> None:
    context = browser.new_context(ignore_https_errors=True)
    for visit in visiting(context, bare.address):
        visit.go(f"/rounds?token={TOKENS['viewer']}")
        expect(visit.page.locator(".nothing")).to_contain_text("An operator starts one here")
    context.close()


def test_regions_come_by_themselves_and_an_answer_outlasts_an_absence(visit: Visit, bare: Deployed) -> None:
    page = visit.page

    def answers() -> list[int]:
        batches = read_batches(bare.root, "sim-dusk")
        return [opinion.label for batch in batches for task in batch.tasks for opinion in task.opinions]

    visit.go("/label")
    expect(page.locator(".nothing")).to_contain_text("Nobody was asked")
    leave_regions(bare.root, leave_captured(bare.root, "sim-dusk", 1), 3)
    expect(page.locator(".badge", has_text="left")).to_have_text("3 left")
    asked = page.locator(".region img").get_attribute("src") or ""
    with away(bare):
        page.keyboard.press(KEYS[13])
        expect(page.locator(".answers")).to_contain_text("this answer could not be kept, give it again")
        expect(page.locator(".region img")).to_have_attribute("src", asked)
    page.keyboard.press(KEYS[13])
    expect(page.locator(".answers")).to_contain_text("1 answered; the last: car")
    assert answers() == [13]
    expect(page.locator(".badge", has_text="left")).to_have_text("2 left")
    page.reload()
    for left in ("2 left", "1 left"):
        expect(page.locator(".badge:visible", has_text="left")).to_have_text(left)
        page.keyboard.press(KEYS[0])
    expect(page.locator(".nothing")).to_contain_text("Everything is answered: 3 regions.")
    assert sorted(answers()) == [0, 0, 13]


def test_what_was_answered_meanwhile_is_asked_no_more(visit: Visit, bare: Deployed) -> None:
    page, desk = visit.page, LabelDesk(bare.root)
    leave_regions(bare.root, leave_captured(bare.root, "sim-rain", 1), 4)

    def leased() -> list[TaskSummary]:
        return [task for task in desk.queue("sim-rain") if task.state == "leased"]

    def answer(task: TaskSummary) -> None:
        desk.submit(task.id, task.leased_by[0], 0)

    visit.go("/label?domain=sim-rain")
    both = until(lambda: found if len(found := leased()) == 2 else None, "the page's two regions")
    asked, shown = (page.locator(".region img").get_attribute(name) or "" for name in ("src", "data-task"))
    answer(next(task for task in both if task.id != shown))
    page.keyboard.press(KEYS[13])
    expect(page.locator(".answers")).to_contain_text("1 answered; the last: car")
    expect(page.locator(".badge:visible", has_text="left")).to_have_text("2 left")
    until(lambda: len(leased()) == 2, "two others")
    expect(page.locator(".region img")).not_to_have_attribute("src", asked)
    visit.go("/audit")
    for task in leased():
        answer(task)
    visit.go("/label?domain=sim-rain")
    expect(page.locator(".nothing")).to_contain_text("Everything is answered: 4 regions.")
    assert [task.id for task in desk.queue("sim-rain") if task.label == 13] == [shown]
    assert sorted(task.label for task in desk.queue("sim-rain") if task.label is not None) == [0, 0, 0, 13]


def test_a_duty_that_fails_is_told_until_it_works_again(visit: Visit, bare: Deployed) -> None:
    damaged = region_batch_key("sim-dusk", new_batch_id(datetime.now(UTC), "00000d"))
    visit.go("/")
    bare.root.create(damaged, b"{")
    expect(visit.page.get_by_role("alert")).to_contain_text(
        re.compile("skipped.*: regions.*00000d.json is no RegionBatch")
    )
    bare.root.delete(damaged)
    expect(visit.page.get_by_role("alert")).to_have_count(0)


def test_releases_are_shown_where_their_pins_cannot_be_read(visit: Visit, bare: Deployed) -> None:
    visit.go("/releases")
    pin = visit.page.locator('[aria-label="pin version 1"]')
    expect(pin).to_have_count(1)
    bare.root.create(PINS, b"{")
    expect(visit.page.locator("#page")).to_contain_text("The pins cannot be read")
    expect(visit.page.locator("#page")).to_contain_text("version 1")
    expect(pin).to_have_count(0)
    bare.root.delete(PINS)
    expect(pin).to_have_count(1)


def test_while_the_root_is_away_pages_say_so_and_go_on_after(visit: Visit, bare: Deployed) -> None:
    page = visit.page
    visit.go("/")
    with away(bare):
        expect(page.get_by_role("alert").first).to_contain_text("is away: mount it again, or bring it back")
        visit.go("/releases")
        expect(page.get_by_role("alert")).to_contain_text("goes on by itself")
        visit.go("/label")
        expect(page.locator(".nothing")).to_contain_text("No region can be fetched just now.")
        visit.go("/")
    expect(page.get_by_role("alert")).to_have_count(0, timeout=1000 * PATIENCE_S)
    expect(page.get_by_label("domain default")).to_contain_text("version 1")
