"""Bounds on calls: places are given back, however a call ends."""

import asyncio

import grpc
import pytest

from exchange.net.call_bounds import CallKind, Refused


async def never() -> bytes:
    return await asyncio.get_running_loop().create_future()


async def at_once() -> bytes:
    return b"here"


@pytest.mark.parametrize("oldest_makes_way", [True, False])
async def test_calls_that_stall_are_all_cut_and_leave_every_place(*, oldest_makes_way: bool) -> None:
    kind = CallKind(
        "calls", calls=1, receiving=4, receiving_per_peer=2, within_s=0.1, oldest_makes_way=oldest_makes_way
    )
    for _ in range(5):
        ends = await asyncio.gather(*(kind.received(f"p{n % 3}", never) for n in range(100)), return_exceptions=True)
        assert all(isinstance(end, Refused) for end in ends)
    assert [await kind.received("p0", at_once) for _ in range(50)] == [b"here"] * 50


async def test_a_peer_takes_no_more_than_its_share() -> None:
    kind = CallKind("calls", calls=3, calls_per_peer=2, receiving=1)
    with kind.held("one"), kind.held("one"), pytest.raises(Refused) as refused, kind.held("one"):
        pass
    assert refused.value.status is grpc.StatusCode.RESOURCE_EXHAUSTED
    with kind.held("one"), kind.held("one"), kind.held("other"), pytest.raises(Refused), kind.held("third"):
        pass
    with kind.held("one"), kind.held("one"):
        pass
