"""A learner whose certificate and tokens are replaced while it runs: both ports, open pages and open calls."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from roadshift.v1 import operations_pb2 as pb

from exchange.storage import open_root
from tests.console.conftest import FAST, console_of
from tests.console.deployment import STARTER, leave_captured
from tests.service.learner_rig import LearnerProcess, until
from tests.tls_files import TlsFiles, served_certificate


def test_certificates_of_both_ports_are_those_that_the_files_hold(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    tls, new = TlsFiles(tmp_path), TlsFiles(tmp_path / "new")
    options = ("--tls-certificate", str(tls.certificate), "--tls-key", str(tls.key))
    with _learner(labelled, tmp_path, *options) as learner:
        ports = [learner.port, int(console_of(learner, "https").rpartition(":")[2])]
        before = served_certificate(learner.port)
        assert [served_certificate(port) for port in ports] == [before, before]
        shutil.copy(new.key, tls.key)
        shutil.copy(new.certificate, tls.certificate)
        for port in ports:
            until(lambda port=port: served_certificate(port) != before, f"the new certificate at port {port}")
        assert served_certificate(ports[0]) == served_certificate(ports[1])


class Watched(NamedTuple):
    learner: LearnerProcess
    tokens: Path
    address: str


@pytest.fixture
def watched(labelled: Path, tmp_path: Path) -> Iterator[Watched]:
    """Two operators' tokens, and a round that waits for gateways, of which there is none."""
    tokens = tmp_path / "tokens"
    tokens.write_text("operator first\noperator second\n")
    leave_captured(open_root(f"file://{tmp_path}/root"), "sim-dusk", 12)
    with _learner(labelled, tmp_path, "--token-file", str(tokens)) as learner:
        yield Watched(learner, tokens, console_of(learner))


def test_a_call_that_watches_a_round_ends_with_its_token(watched: Watched) -> None:
    stub, first = watched.learner.stub(), (("authorization", "Bearer first"),)
    started = stub.StartRound(pb.StartRoundRequest(domain="sim-dusk"), metadata=first, timeout=60)
    call = stub.WatchRound(pb.WatchRoundRequest(id=started.id), metadata=first, timeout=120)
    next(told for told in call if told.phase == pb.ROUND_PHASE_ROLLOUT)
    watched.tokens.write_text("operator second\n")
    with pytest.raises(grpc.RpcError) as failure:
        list(call)
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_page_that_is_open_ends_with_its_token(watched: Watched, browser: Browser) -> None:
    first, second = browser.new_context(), browser.new_context()
    ending, staying = _page(first, watched, "first"), _page(second, watched, "second")
    staying.evaluate("window.wasHere = true")
    watched.tokens.write_text("operator second\noperator third\n")
    expect(ending.get_by_text("Log in").first).to_be_visible()
    assert staying.evaluate("window.wasHere && window.socket.connected")
    assert staying.reload() is not None
    expect(staying.get_by_role("button", name="Start the round")).to_be_visible()
    assert "Traceback" not in watched.learner.said()
    first.close()
    second.close()


def _learner(labelled: Path, folder: Path, *options: str) -> LearnerProcess:
    given = ("--release", str(STARTER), *options, *FAST)
    return LearnerProcess(f"file://{folder}/root", labelled, folder / "learner", *given)


def _page(context: BrowserContext, watched: Watched, token: str) -> Page:
    page = context.new_page()
    page.goto(f"{watched.address}/rounds?token={token}")
    page.wait_for_function("window.socket?.connected && document.querySelector('#page > *')")
    return page
