"""A round whose state is damaged is told, and keeps no other round waiting."""

from datetime import UTC, datetime
from pathlib import Path

from adaptation.control.rounds.round_state import Request, RoundBook, RoundState, new_round_id, state_key
from exchange.storage import open_root


def test_a_damaged_state_is_left_out_and_told(tmp_path: Path) -> None:
    root = open_root(str(tmp_path / "root"))
    now = datetime.now(UTC)
    ids = sorted(new_round_id(key) for key in ("one", "other"))
    for round_id in ids:
        request = Request(domain="sim-dusk", recipe="tiny")
        state = RoundState(id=round_id, request=request, requested_by="ann", created_at=now, changed_at=now)
        root.write(state_key(round_id), state.encode())
    book = RoundBook(root)
    assert [state.id for state in book.all()] == ids
    root.write(state_key(ids[0]), root.read(state_key(ids[0])).data[:-9])
    assert [state.id for state in book.all()] == ids[1:]
    assert list(book.damaged) == ids[:1]
    assert ids[0] in book.damaged[ids[0]]
