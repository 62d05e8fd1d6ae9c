"""Sockets of visitors who speak past the console's scripts: malformed messages, other people's pages, old sessions."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.exceptions import ConnectionClosed

from tests.console.conftest import FAST, TOKENS, Deployed, console_of
from tests.console.deployment import STARTER
from tests.console.sockets import Intruder
from tests.service.learner_rig import LearnerProcess

FORGED = "2026-01-01 00:00:00 INFO adaptation: release 7 was promoted"
MALFORMED: tuple[Any, ...] = (None, 7, "x", [], {}, {"client_id": 7}, {"client_id": None, "id": "x"})


@pytest.fixture
def viewer(deployed: Deployed) -> Intruder:
    return Intruder(deployed.address, TOKENS["viewer"])


def test_nobody_writes_into_the_learners_log(viewer: Intruder, deployed: Deployed) -> None:
    page, _ = viewer.opened_page("/rounds")
    with viewer.socket() as socket:
        assert socket.claim(page)
        for level in ("error", "warning", "no-level"):
            socket.say("log", {"client_id": page, "level": level, "message": FORGED})
        for event in ("log", "ack", "event", "javascript_response", "handshake", "no-event"):
            for data in MALFORMED:
                socket.say(event, data)
            socket.say(event)
            socket.say(event, {"client_id": page}, {"client_id": page})
        for wrong in ({"id": 1}, {"id": 1, "listener_id": "x", "args": ["{"]}, {"id": 10**6, "listener_id": "x"}):
            socket.say("event", {"client_id": page, **wrong})
        for data in ({"next_message_id": "x"}, {"next_message_id": None}):
            socket.say("ack", {"client_id": page, **data})
        assert socket.claim(page) is False, "a page has one socket"
    assert not [line for line in deployed.learner.said().splitlines() if FORGED in line or "Traceback" in line]


def test_a_page_is_its_own_visitors(viewer: Intruder, deployed: Deployed) -> None:
    operators, _ = Intruder(deployed.address, TOKENS["operator"]).opened_page("/rounds")
    viewers, _ = viewer.opened_page("/rounds")
    with viewer.socket() as socket:
        assert socket.claim(operators) is False
        assert socket.claim("00000000-0000-0000-0000-000000000000") is False
        assert socket.claim(viewers) is True


def test_what_one_socket_sends_is_of_its_own_page(deployed: Deployed) -> None:
    """Whoever learns a page's id clicks nothing there; the page's own socket does."""
    operator, other = (Intruder(deployed.address, TOKENS["operator"]) for _ in range(2))
    page, sent = operator.opened_page("/prior?domain=sim-dusk")
    others, _ = other.opened_page("/prior?domain=sim-dusk")
    with operator.socket() as socket, other.socket() as stranger:
        assert socket.claim(page)
        assert stranger.claim(others)
        stranger.say("event", _click(page, sent, "Reset…"))
        assert stranger.ask("handshake", None) is False, "so the click has been heard"
        socket.say("event", _click(page, sent, "Freeze…"))
        shown = socket.received_until("Freeze the prior?")
        assert "Reset the prior?" not in shown


@pytest.mark.parametrize("path", ["/frame", "/picture/frame", "/picture/labels", "/picture/doubt"])
@pytest.mark.parametrize("shard", ["../../etc/passwd", "frames/sim-dusk/gw/../../../lease.json", "", "\0", "x" * 3000])
def test_a_frame_of_no_shard_is_not_there(viewer: Intruder, path: str, shard: str) -> None:
    assert viewer.status_of(f"{path}?{urlencode({'shard': shard, 'key': 'x'})}") == 404


def test_a_socket_ends_with_its_token(labelled: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("operator first\noperator second\n")
    options = ("--release", str(STARTER), "--token-file", str(tokens), *FAST)
    with LearnerProcess(f"file://{tmp_path}/root", labelled, tmp_path / "learner", *options) as learner:
        ending, staying = (Intruder(console_of(learner), token) for token in ("first", "second"))
        with ending.socket() as ended:
            tokens.write_text("operator second\n")
            with pytest.raises(ConnectionClosed):
                ended.wait_for_end()
        page, _ = staying.opened_page("/")
        with staying.socket() as stays:
            assert stays.claim(page)


def _click(page: str, sent: str, label: str) -> dict[str, Any]:
    """The event of a click on a button, as the page would send it."""
    elements = re.search(r"parseElements\(String\.raw`(.*?)`", sent, re.DOTALL)
    assert elements
    for number, element in json.loads(elements[1]).items():
        if element.get("props", {}).get("label") == label:
            (listener,) = (event["listener_id"] for event in element["events"] if event["type"] == "click")
            return {"client_id": page, "id": int(number), "listener_id": listener, "args": [json.dumps({})]}
    raise AssertionError(f"no button {label!r} in {sorted(json.loads(elements[1]))}")
