"""Who gets in: sessions, tokens, names, and pages of other sites."""

import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from adaptation.console.access import SESSION_COOKIE, Access, form_token_of, visitor_of
from adaptation.console.forms import LARGEST_BYTES
from adaptation.console.link import link, link_token
from adaptation.console.origins import Origins
from adaptation.console.sessions import LASTS_S, NOBODY, Sessions, Visitor, cleaned_name
from adaptation.control.settings import LearnerSettings
from exchange.net.addresses import parse_address
from exchange.net.callers import Callers, NameTaken, Role
from exchange.net.listening import StartupError
from tests.clocks import Clock

LINK = "the-links-token"

Open = Callable[..., httpx.AsyncClient]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("operator op-token\nviewer view-token\nannotator label-token\nvehicle car-token\n")
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(tokens: Path, clock: Clock) -> Open:
    def who(request: Request) -> PlainTextResponse:
        visitor = visitor_of(request)
        roles = ",".join(sorted(role.value for role in visitor.roles))
        said = f"{visitor.name}:{roles}:{request.url.query}"
        return PlainTextResponse(said, headers={"x-form": form_token_of(request)})

    def build(
        token_file: Path | None = tokens,
        listen: str = "127.0.0.1:8700",
        host: str = "localhost",
        named: tuple[str, ...] = (),
    ) -> httpx.AsyncClient:
        app = Starlette(routes=[Route("/{rest:path}", who, methods=["GET", "POST"])])
        callers = Callers(client_certificates=False, token_file=token_file, clock=clock)
        sessions, origins = Sessions(callers, LINK), Origins(listen, named)
        access = Access(app, callers=callers, sessions=sessions, origins=origins)
        transport, address = httpx.ASGITransport(access), f"http://{host}:8700"
        headers = {"origin": address}
        return httpx.AsyncClient(transport=transport, base_url=address, headers=headers, follow_redirects=True)

    return build


def test_a_session_is_what_was_sealed_until_it_is_old(tokens: Path) -> None:
    callers = Callers(client_certificates=False, token_file=tokens)
    sessions = Sessions(callers)
    token = sessions.holder("op-token")
    assert token is not None
    operator = Visitor("ann", frozenset({Role.OPERATOR}), token.shown)
    cookie = sessions.sealed("ann", token, now_s=1000)
    assert "op-token" not in cookie
    assert sessions.opened(cookie, now_s=1000 + LASTS_S) == operator
    assert sessions.opened(cookie, now_s=1002 + LASTS_S) == NOBODY
    assert sessions.opened(cookie[:-1] + ("0" if cookie[-1] != "0" else "1"), now_s=1000) == NOBODY
    assert sessions.opened("", now_s=1000) == sessions.opened("é.ü", now_s=1000) == NOBODY
    _, _, rest = cookie.partition(".")
    viewer = sessions.holder("view-token")
    assert viewer is not None
    assert sessions.opened(f"{viewer.digest}.{rest}", now_s=1000) == NOBODY


@pytest.mark.parametrize(
    ("content", "lasts"),
    [
        ("vehicle more-token\nviewer view-token\noperator op-token\n", True),
        ("operator another\n", False),
        ("viewer op-token\n", False),  # a page that an operator opened would still take an operator's orders
        ("operator op-token # eva\n", False),
        ("nonsense\n", True),
    ],
)
async def test_a_session_lasts_as_long_as_its_line_of_the_token_file(
    opened: Open, tokens: Path, clock: Clock, content: str, lasts: bool
) -> None:
    client = opened()
    assert (await client.get("/?token=op-token")).status_code == 200
    tokens.write_text(content)
    clock.pass_s(1)
    assert (await client.get("/rounds")).status_code == (200 if lasts else 401)
    if content != "nonsense\n":  # which keeps a learner from starting
        after_a_restart = opened()
        after_a_restart.cookies = client.cookies
        assert (await after_a_restart.get("/rounds")).status_code == (200 if lasts else 401)


def test_names_are_fit_for_the_audit() -> None:
    assert cleaned_name("  ann\n\x1b[31m ") == "ann[31m"
    assert len(cleaned_name("a" * 500)) == 64


async def test_without_tokens_the_learners_link_makes_an_operator(opened: Open) -> None:
    client = opened(token_file=None)
    refused = await client.get("/rounds")
    assert (refused.status_code, "the link that the learner prints" in refused.text) == (401, True)
    assert (await client.get("/?token=another")).status_code == 401
    entered = await client.get(f"/rounds?token={LINK}")
    assert entered.text == "operator:annotator,operator,vehicle,viewer:"
    form = entered.headers["x-form"]
    named = await client.post("/name", data={"name": "ann", "next": "/rounds?x=1", "form": form})
    assert named.text == "ann:annotator,operator,vehicle,viewer:x=1"


async def test_with_tokens_the_link_of_those_without_opens_nothing(opened: Open) -> None:
    assert (await opened().get(f"/?token={LINK}")).status_code == 401


async def test_a_form_is_taken_from_a_page_of_the_same_session(opened: Open) -> None:
    client, other = opened(), opened()
    await client.get("/?token=op-token")
    form = (await other.get("/?token=view-token")).headers["x-form"]
    for wrong in ({}, {"form": ""}, {"form": form}):
        refused = await client.post("/name", data={"name": "eve", **wrong})
        assert (refused.status_code, refused.text) == (403, "This form is of another session: load its page again.\n")
    assert (await client.get("/")).text.startswith("operator-")


@pytest.mark.parametrize("path", ["/login", "/name"])
async def test_a_large_form_is_refused(opened: Open, path: str) -> None:
    client = opened()
    await client.get("/?token=op-token")
    large = await client.post(path, content=b"token=" + b"a" * LARGEST_BYTES)
    assert (large.status_code, large.text) == (413, "This form is too large: send at most 4096 bytes.\n")
    assert large.headers["x-content-type-options"] == "nosniff"


async def test_cookies_go_along_from_this_site_alone(opened: Open) -> None:
    for named, secure in (((), False), (("https://localhost:8700",), True)):
        client = opened(named=named)
        client.headers["origin"] = "https://localhost:8700" if secure else "http://localhost:8700"
        answer = await client.post("/login", data={"token": "op-token"}, follow_redirects=False)
        cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith(SESSION_COOKIE))
        assert ("HttpOnly" in cookie, "SameSite=strict" in cookie, "Secure" in cookie) == (True, True, secure)


async def test_a_token_is_typed_once(opened: Open) -> None:
    client = opened()
    refused = await client.get("/rounds")
    assert (refused.status_code, "Log in" in refused.text, 'value="/rounds"' in refused.text) == (401, True, True)
    wrong = await client.post("/login", data={"token": "no-token", "name": "ann", "next": "/rounds"})
    assert (wrong.status_code, "is not known" in wrong.text) == (401, True)
    entered = await client.post("/login", data={"token": "op-token", "name": "ann", "next": "/rounds"})
    assert (entered.status_code, entered.text) == (200, "ann:operator:")
    assert (await client.get("/")).text == "ann:operator:"
    assert "op-token" not in str(client.cookies.jar)


@pytest.mark.parametrize("role", ["viewer", "annotator"])
async def test_a_link_with_a_token_sets_the_cookie_and_loses_the_token(opened: Open, role: str) -> None:
    client = opened()
    token = {"viewer": "view-token", "annotator": "label-token"}[role]
    name, roles, rest = (await client.get(f"/prior?domain=sim-dusk&token={token}")).text.split(":")
    assert (roles, rest) == (role, "domain=sim-dusk")
    assert name.startswith(f"{role}-")  # people with other tokens have other names
    assert token not in name
    assert (await client.get("/")).text == f"{name}:{role}:"
    form = (await client.get("/")).headers["x-form"]
    named = await client.post("/name", data={"name": "ann", "next": "/", "form": form})
    assert named.text == f"ann:{role}:"
    assert (await client.get(f"/?token={token}")).text == f"{name}:{role}:"  # perhaps somebody else by now


def test_a_name_that_is_claimed_is_told_beside_what_a_token_shows() -> None:
    assert Visitor("ann", frozenset(), "operator-3fa9c1").who() == "operator-3fa9c1 (says ann)"
    assert Visitor("operator-3fa9c1", frozenset(), "operator-3fa9c1").who() == "operator-3fa9c1"
    assert Visitor("ann", frozenset()).who() == "ann"
    with pytest.raises(NameTaken, match="give your own name"):
        Visitor("drift trigger", frozenset(), "operator-3fa9c1").who()


async def test_a_vehicle_sees_nothing(opened: Open) -> None:
    found = await opened().get("/?token=car-token")
    assert (found.status_code, "is a vehicle&#x27;s" in found.text or "is a vehicle's" in found.text) == (403, True)


async def test_nobody_is_sent_elsewhere(opened: Open) -> None:
    for address in ("https://elsewhere.example/x", "//elsewhere.example/x", "\\\\elsewhere.example/x"):
        answer = await opened().post("/login", data={"token": "op-token", "next": address}, follow_redirects=False)
        assert answer.headers["location"].startswith("/")
        assert not answer.headers["location"].startswith(("//", "/\\"))


@pytest.mark.parametrize("address", ["//[", "//[x", "/\\[", "//[::1]]/", "http://[", "[", "\ud800"])
async def test_an_address_that_cannot_be_read_leads_to_the_first_page(opened: Open, address: str) -> None:
    form = urlencode({"token": "op-token", "next": address}, errors="surrogatepass")
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await opened().post("/login", content=form, headers=headers, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"][:2].rstrip("[%")) == (303, "/")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(address=st.text(max_size=40), name=st.text(max_size=40), cookie=st.text(max_size=40))
async def test_no_text_of_a_stranger_is_a_defect(opened: Open, address: str, name: str, cookie: str) -> None:
    headers = [(b"cookie", f"roadshift_session={cookie}; roadshift_name={cookie}".encode())]
    form = {"token": "op-token", "next": address, "name": name}
    answer = await opened().post("/login", data=form, headers=headers, follow_redirects=False)
    assert answer.status_code == 303
    asked = await opened().get("/", params={"token": name, "x": address}, headers=headers)
    assert asked.status_code in (401, 403)


async def test_pages_of_other_sites_reach_nothing(opened: Open) -> None:
    client = opened()
    await client.get("/?token=op-token")
    assert (await client.post("/")).status_code == 200
    for origin in ("http://elsewhere.example", "https://localhost:8700", "http://localhost:9999", "null", ""):
        refused = await client.post("/", headers={"origin": origin})
        assert (refused.status_code, refused.text.count("\n")) == (403, 1), origin
        assert (await client.get("/", headers={"origin": origin})).status_code == 403, origin
    del client.headers["origin"]
    assert (await client.get("/")).status_code == 200
    assert (await client.post("/")).status_code == 403, "whoever gives an order says from where"


@pytest.mark.parametrize(
    ("listen", "host", "knows"),
    [
        ("127.0.0.1:8700", "localhost", True),
        ("127.0.0.1:8700", "127.0.0.1", True),
        ("127.0.0.1:8700", "127.9.9.9", True),
        ("127.0.0.1:8700", "[::1]", True),
        ("127.0.0.1:8700", "elsewhere.example", False),
        ("127.0.0.1:8700", "localhost.elsewhere.example", False),
        ("127.0.0.1:8700", "10.0.0.1", False),
        ("10.0.0.1:8700", "10.0.0.1", True),
        ("10.0.0.1:8700", "elsewhere.example", False),
        ("learner.example:8700", "LEARNER.example", True),
        ("0.0.0.0:8700", "10.0.0.7", True),
        ("[::]:8700", "[fd00::7]", True),
        ("0.0.0.0:8700", "elsewhere.example", False),
    ],
)
async def test_a_name_that_only_points_here_is_refused(opened: Open, listen: str, host: str, knows: bool) -> None:
    """The token is right; with a session of its own such a page could give orders."""
    answer = await opened(listen=listen, host=host).get("/?token=op-token")
    assert answer.status_code == (200 if knows else 403)
    assert knows or "--console-origin" in answer.text


async def test_a_host_that_is_none_is_refused(opened: Open) -> None:
    for host in ("", "localhost:8700@elsewhere.example", "localhost/x", "a b", "localhost:8700:1", "[::1", "::1"):
        assert (await opened().get("/?token=op-token", headers={"host": host})).status_code == 403, host


async def test_a_proxy_is_named_by_its_origin(opened: Open) -> None:
    named = ("https://console.example.org",)
    for host, origin, status in (
        ("console.example.org", "https://console.example.org", 303),
        ("127.0.0.1:8700", "https://console.example.org", 303),
        ("console.example.org", "http://console.example.org", 403),
        ("console.example.org:81", "https://console.example.org", 403),
        ("console.example.org", "https://elsewhere.example", 403),
    ):
        headers = {"host": host, "origin": origin}
        client = opened(named=named)
        client.follow_redirects = False
        answer = await client.post("/login", data={"token": "op-token"}, headers=headers)
        assert answer.status_code == status, (host, origin)


@pytest.mark.parametrize("path", ["/", "/nowhere", "/login", "/?token=no-token"])
async def test_every_answer_has_the_headers(opened: Open, path: str) -> None:
    for client in (opened(), opened(host="elsewhere.example")):
        answer = await client.get(path)
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert "'unsafe-inline'" not in policy["script-src"]
        assert not any(scheme in " ".join(policy.values()) for scheme in ("http", "*", "blob:"))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_the_links_token_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "console-token"
    token = link_token(path)
    assert (len(token), stat.S_IMODE(path.stat().st_mode), link_token(path)) == (43, 0o600, token)
    path.chmod(0o644)
    another = link_token(path)
    assert (another != token, stat.S_IMODE(path.stat().st_mode)) == (True, 0o600), "others may have read it"
    for damaged in ("", "short", "é" * 43):
        path.write_text(damaged)
        assert len(link_token(path)) == 43
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(token)
    elsewhere.chmod(0o600)
    path.unlink()
    path.symlink_to(elsewhere)
    assert link_token(path) != token
    with pytest.raises(StartupError, match="choose another --run-dir"):
        link_token(elsewhere / "console-token")


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:8700", "127.0.0.1"),
        ("0.0.0.0:8700", "127.0.0.1"),
        ("[::]:8700", "[::1]"),
        ("10.0.0.1:8700", "10.0.0.1"),
    ],
)
def test_the_link_leads_to_this_machine(listen: str, address: str) -> None:
    assert link("http", parse_address(listen), "abc") == f"http://{address}:8700/?token=abc"


@pytest.mark.parametrize(
    ("origin", "told"),
    [("https://Console.example.org:443/", "https://console.example.org"), ("http://[::1]:8080", "http://[::1]:8080")],
)
def test_origins_are_written_as_browsers_tell_them(tmp_path: Path, origin: str, told: str) -> None:
    source = {"folder": tmp_path}
    settings = LearnerSettings.model_validate({"root": "x", "sources": (source,), "console_origins": (origin,)})
    assert settings.console_origins == (told,)
    for wrong in ("console.example.org", "https://a/b", "https://", "ftp://a", "https://a:1:2", "https://*"):
        with pytest.raises(ValidationError, match="is no origin: give one such as"):
            LearnerSettings.model_validate({"root": "x", "sources": (source,), "console_origins": (wrong,)})


@pytest.mark.parametrize(
    ("token", "origin", "is_let_in"),
    [
        ("view-token", "http://localhost:8700", True),
        ("", "http://localhost:8700", False),
        ("no-token", "http://localhost:8700", False),
        ("car-token", "http://localhost:8700", False),
        ("op-token", "http://elsewhere.example", False),
        ("op-token", None, False),
    ],
)
async def test_a_socket_is_opened_by_who_may_look_from_the_consoles_own_page(
    opened: Open, tokens: Path, token: str, origin: str | None, is_let_in: bool
) -> None:
    """The cookie and the origin of the handshake decide, before NiceGUI reads which page it claims to be of."""
    client = opened()
    await client.get(f"/?token={token}")
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
    headers = [(b"host", b"localhost:8700"), (b"cookie", cookies.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    scope = {"type": "websocket", "path": "/_nicegui_ws/socket.io/", "query_string": b"", "headers": headers}
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    callers = Callers(client_certificates=False, token_file=tokens)
    await Access(app, callers=callers, sessions=Sessions(callers), origins=Origins("127.0.0.1:8700", ()))(
        scope, receive, send
    )
    assert [message["type"] for message in sent] == ["websocket.accept" if is_let_in else "websocket.close"]
    polled = await client.get("/_nicegui_ws/socket.io/?EIO=4&transport=polling", headers={"origin": origin or ""})
    assert (polled.status_code == 200) == is_let_in
