"""Texts that would run as script wherever they were read as anything but text: in addresses, fields, and the root."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, expect

from adaptation.control.rounds.round_state import Event, Phase, Request, RoundState, progress_key, round_key, state_key
from exchange.fleet.frames import encode_members, join_shard
from exchange.jobs.progress import CurvePoint, Progress
from exchange.jobs.round_files import PAGE_FILE, VERDICT_FILE
from exchange.jobs.verdict import Check, Verdict
from exchange.registry import publish
from exchange.registry.audit import AuditEntry, record
from exchange.storage.locations import ShardName
from tests.console.browsing import Visit, visiting
from tests.console.conftest import TOKENS, Deployed
from tests.console.deployment import STARTER, street_frame

ROUND = "0123456789abcdef"
PAYLOADS = {
    "single quote": "' innerHTML='<img src=data:, onerror=window.ran=1>' x='",
    "double quote": '\' innerHTML="<img src=data:, onerror=window.ran=1>" x="',
    "bare": "x innerHTML=<img/src=data:,onerror=window.ran=1> :title=window.ran=1",
    "tag": "'><img src=data:, onerror=window.ran=1>\"><svg onload=window.ran=1>",
    "end of script": "</script></title></textarea><script>window.ran=1</script>",
    "template": "{{constructor.constructor('window.ran=1')()}}${window.ran=1}`;window.ran=1;`",
    "line separator": "\u2028window.ran=1;//\u2029\\u0027;window.ran=1;//",
    "address": "javascript:window.ran=1",
}
ALL = " ".join(PAYLOADS.values())
_ADDRESSES = (
    "/{}",
    "/rounds/{}",
    "/report/{}",
    "/frames?domain={}",
    "/frames?most={}",
    "/frames?{}=1",
    "/frame?shard={}&key={}",
    "/prior?domain={}",
    "/labels?domain={}",
    "/label?domain={}",
    "/?{}",
)
_UNTIL_IMAGES_FAIL = "() => new Promise(done => { const last = new Image(); last.onerror = done; last.src = 'data:,' })"
"""Those before it have told that there is no image in them by then."""


@pytest.fixture(scope="module")
def entered(browser: Browser, deployed: Deployed) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.new_page().goto(f"{deployed.address}/?token={TOKENS['operator']}")
    yield context
    context.close()


def complain(visit: Visit, dialog: Dialog) -> None:
    visit.complaints.append(f"a dialog: {dialog.message}")
    dialog.dismiss()


@pytest.fixture
def visit(entered: BrowserContext, deployed: Deployed) -> Iterator[Visit]:
    for visit in visiting(entered, deployed.address):
        visit.page.on("dialog", partial(complain, visit))
        yield visit
        visit.complaints = [said for said in visit.complaints if "the server responded with a status of 4" not in said]


def check_nothing_ran(visit: Visit) -> None:
    """A script that the content security policy alone has held is among the visit's complaints."""
    visit.page.evaluate(_UNTIL_IMAGES_FAIL)
    assert visit.page.evaluate("window.ran") is None, visit.page.url


@pytest.mark.parametrize("address", _ADDRESSES)
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_an_address_runs_nothing(visit: Visit, address: str, payload: str) -> None:
    visit.go(address.replace("{}", quote(payload, safe="")))
    check_nothing_ran(visit)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_the_login_page_runs_nothing(browser: Browser, deployed: Deployed, payload: str) -> None:
    context = browser.new_context()
    for visit in visiting(context, deployed.address):
        for address in ("/{}", "/frames?domain={}", "/login?next={}", "/?token={}"):
            visit.page.goto(visit.address + address.format(quote(payload, safe="")))
            expect(visit.page.get_by_label("Token")).to_be_visible()
            visit.page.get_by_label("Token").fill(payload)
            visit.page.get_by_label("Your name").fill(payload)
            visit.page.get_by_role("button", name="Log in").click()
            expect(visit.page.get_by_role("alert")).to_contain_text("This token is not known")
            check_nothing_ran(visit)
        visit.complaints = [said for said in visit.complaints if "status of 401" not in said]
    context.close()


def leave_hostile_texts(deployed: Deployed) -> None:
    """In each text of the root that no pattern bounds."""
    root, now = deployed.root, datetime.now(UTC)
    frame = street_frame(99, "sim-dusk", now)
    metadata = frame.metadata.model_copy(update={"vehicle": ALL, "drive": ALL, "prior_id": ALL})
    frame = replace(frame, metadata=metadata)
    root.create(ShardName("sim-dusk", "gw-h", now, 1).key, join_shard([encode_members(frame)]))
    publish(root, STARTER, by=ALL[:200], origin="added", parent=1)
    state = RoundState(
        id=ROUND,
        request=Request(domain="sim-dusk", recipe=ALL),
        requested_by=ALL,
        created_at=now,
        changed_at=now,
        phase=Phase.REJECTED,
        reason=ALL,
        events=(Event(at=now, text=ALL[:300]),),
    )
    root.create(state_key(ROUND), state.encode())
    numbers = dict.fromkeys((*PAYLOADS.values(), ":loss", ":formatter"), 1.0)
    curve = tuple(CurvePoint(step=ALL, done=done, numbers=numbers) for done in (1, 2))
    root.write(progress_key(ROUND), Progress(step=ALL, done=1, total=2, paused=ALL, curve=curve).encode())
    checks = (Check.missing(ALL, "at most", 2.0, ALL),)
    root.write(round_key(ROUND, VERDICT_FILE), Verdict(checks=checks, passed=False).encode())
    image = "data:image/png;base64,&quot;&gt;&lt;img src=data:, onerror=window.ran=1&gt;"
    figures = "".join(f'<img src="{image}" alt="{what}">' for what in ("frame", "before", "after", "truth"))
    page = f'<script>window.ran=1</script><div class="frames" title="x">{figures}</div>{ALL}'
    root.write(round_key(ROUND, PAGE_FILE), page.encode())
    entry = AuditEntry(who=ALL[:256], what="promote", round_id=ALL, why=ALL[:300], details={ALL[:60]: ALL[:300]})
    record(root, entry)


def test_stored_texts_run_nothing(visit: Visit, deployed: Deployed) -> None:
    leave_hostile_texts(deployed)
    shown: dict[str, Callable[[], None]] = {
        "/audit": lambda: expect(visit.page.locator(".line", has_text="onerror").first).to_be_visible(),
        "/rounds": lambda: expect(visit.page.locator(".line", has_text="onerror").first).to_be_visible(),
        f"/rounds/{ROUND}": lambda: expect(visit.page.locator(".report-frames img").first).to_be_attached(),
        "/releases": lambda: expect(visit.page.locator(".line", has_text="onerror").first).to_be_visible(),
        "/frames?domain=sim-dusk": lambda: expect(visit.page.locator(".frame-card").first).to_be_visible(),
    }
    for place, wait in shown.items():
        visit.go(place)
        wait()
        check_nothing_ran(visit)
    visit.page.locator(".frame-card").first.click()
    visit.page.wait_for_url(re.compile("/frame\\?"))
    expect(visit.page.locator(".layers img").first).to_be_attached()
    check_nothing_ran(visit)
    visit.complaints = [
        said for said in visit.complaints if "ERR_INVALID_URL" not in said
    ]  # of the images that are none


def test_a_report_of_a_round_runs_nothing(entered: BrowserContext, deployed: Deployed) -> None:
    """It is a worker's file, shown as it is."""
    page = entered.new_page()
    page.goto(f"{deployed.address}/report/{ROUND}")
    expect(page.locator(".frames")).to_be_attached()
    assert page.evaluate("[window.ran === undefined, window.origin]") == [True, "null"]
    page.close()


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_fields_run_nothing(visit: Visit, payload: str) -> None:
    page = visit.page
    visit.go("/audit")
    page.get_by_label("who, what, or where").fill(payload)
    check_nothing_ran(visit)
    page.locator(".who summary").click()
    page.locator("input[name=name]").fill(payload)
    page.get_by_role("button", name="Keep it").click()
    page.wait_for_function("window.socket?.connected && document.querySelector('#page > *')")
    expect(page.locator(".who summary")).to_contain_text(payload.strip()[:8].strip("\u2028"))
    visit.go("/label")
    check_nothing_ran(visit)
    visit.go("/rounds")
    page.get_by_label("minutes").fill(payload[:32])
    page.get_by_role("button", name="Start the round").click()
    expect(page.locator(".q-notification")).to_be_visible()
    check_nothing_ran(visit)
    page.get_by_label("minutes").fill("")
    page.get_by_role("button", name="Start the round").click()
    page.locator(".ask input").fill(payload)
    check_nothing_ran(visit)
    page.get_by_role("button", name="Leave it as it is").click()
    expect(page.locator(".ask")).to_have_count(0)


def test_scripts_run_by_the_nonce_of_their_answer(visit: Visit) -> None:
    """Whatever got into a page all the same would be held by the policy."""
    first, second = (visit.go("/").headers["content-security-policy"] for _ in range(2))
    assert first != second
    visit.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=window.ran=1>')")
    visit.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran=1'}))"
    )
    check_nothing_ran(visit)
    assert len([said for said in visit.complaints if "Content Security Policy" in said]) == 2
    visit.complaints = []


@pytest.mark.parametrize("path", ["/", "/nowhere", "/console/page.js", "/picture/frame", "/_nicegui/nothing", "/login"])
def test_every_answer_of_the_console_has_the_headers(entered: BrowserContext, deployed: Deployed, path: str) -> None:
    headers = entered.request.get(f"{deployed.address}{path}").headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_no_page_frames_the_console_or_gives_it_orders(entered: BrowserContext, deployed: Deployed) -> None:
    """From another origin of this machine, to which the browser sends the same cookies."""
    page = entered.new_page()
    other = deployed.address.replace("127.0.0.1", "localhost")
    page.route(f"{other}/**", lambda route: route.fulfill(body="<p>another page</p>", content_type="text/html"))
    page.goto(f"{other}/")
    ws = deployed.address.replace("http:", "ws:") + "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    opened = "url => new Promise(done => { const s = new WebSocket(url); s.onopen = () => done(true);"
    assert page.evaluate(f"{opened} s.onerror = () => done(false) }})", ws) is False
    with page.expect_response(f"{deployed.address}/name") as answer:
        page.evaluate(
            "url => { const form = document.body.appendChild(document.createElement('form'));"
            " Object.assign(form, {method: 'post', action: url}).submit() }",
            f"{deployed.address}/name",
        )
    assert answer.value.status == 403
    page.close()
