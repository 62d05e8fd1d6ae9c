"""Who gets in: sessions, tokens, names, and pages of other sites."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from adaptation.console.access import Access, visitor_of
from adaptation.console.sessions import LASTS_S, NOBODY, Sessions, Visitor, cleaned_name
from exchange.callers import Callers, NameTaken, Role
from tests.clocks import Clock

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
        return PlainTextResponse(f"{visitor.name}:{roles}:{request.url.query}")

    def build(
        token_file: Path | None = tokens, listen: str = "127.0.0.1:8700", host: str = "localhost"
    ) -> httpx.AsyncClient:
        app = Starlette(routes=[Route("/{rest:path}", who, methods=["GET", "POST"])])
        callers = Callers(client_certificates=False, token_file=token_file, clock=clock)
        access = Access(app, callers=callers, sessions=Sessions(callers), listen=listen, tls=False)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(access), base_url=f"http://{host}:8700", follow_redirects=True
        )

    return build


def test_a_session_is_what_was_sealed_until_it_is_old(tokens: Path) -> None:
    callers = Callers(client_certificates=False, token_file=tokens)
    sessions = Sessions(callers)
    token = callers.token("op-token")
    assert token is not None
    operator = Visitor("ann", frozenset({Role.OPERATOR}), token.shown)
    cookie = sessions.sealed("ann", token, now_s=1000)
    assert "op-token" not in cookie
    assert sessions.opened(cookie, now_s=1000 + LASTS_S) == operator
    assert sessions.opened(cookie, now_s=1002 + LASTS_S) == NOBODY
    assert sessions.opened(cookie[:-1] + ("0" if cookie[-1] != "0" else "1"), now_s=1000) == NOBODY
    assert sessions.opened("", now_s=1000) == sessions.opened("é.ü", now_s=1000) == NOBODY
    _, _, rest = cookie.partition(".")
    viewer = callers.token("view-token")
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


async def test_without_tokens_everybody_on_this_machine_is_an_operator(opened: Open) -> None:
    client = opened(token_file=None)
    assert (await client.get("/rounds")).text == "operator:annotator,operator,vehicle,viewer:"
    named = await client.post("/name", data={"name": "ann", "next": "/rounds?x=1"})
    assert named.text == "ann:annotator,operator,vehicle,viewer:x=1"


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
    named = await client.post("/name", data={"name": "ann", "next": "/"})
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


async def test_other_sites_reach_nothing(opened: Open) -> None:
    client = opened(token_file=None)
    assert (await client.post("/", headers={"origin": "http://localhost:8700"})).status_code == 200
    assert (await client.post("/", headers={"origin": "http://elsewhere.example"})).status_code == 403
    assert (await opened(token_file=None, host="elsewhere.example").get("/")).status_code == 403, (
        "a name that points here"
    )
    assert (await opened(token_file=None, host="[::1]").get("/")).status_code == 200
    assert (await opened(token_file=None, listen="10.0.0.1:8700", host="learner.example").get("/")).status_code == 200


async def test_pages_may_ask_this_server_alone(opened: Open) -> None:
    policy = (await opened(token_file=None).get("/")).headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    assert "http" not in policy
