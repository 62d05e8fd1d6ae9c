"""What a client tries again, when, and when it stops."""

import grpc
import pytest

from clients.client.connection import Attempts, RequestFailed, RetryBudget


class Failure(grpc.RpcError):
    """What gRPC raises, as far as it is read."""

    def __init__(self, status: grpc.StatusCode, hint_ms: int | None = None) -> None:
        self._status = status
        self._trailing = () if hint_ms is None else (("retry-after-ms", str(hint_ms)),)

    def code(self) -> grpc.StatusCode:
        return self._status

    def details(self) -> str:
        return "no"

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._trailing


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


OVERLOADED, AWAY = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE


def test_the_servers_hint_is_kept_and_spread() -> None:
    waits = [Attempts(10, RetryBudget(), Clock()).wait_before_next_s(Failure(OVERLOADED, 400)) for _ in range(50)]
    assert 0.4 <= min(waits) < max(waits) <= 0.52


def test_without_a_hint_waits_double_up_to_a_bound() -> None:
    attempts = Attempts(1000, RetryBudget(), Clock())
    waits = [attempts.wait_before_next_s(Failure(AWAY)) for _ in range(8)]
    for number, wait_s in enumerate(waits):
        least = min(2.0, 0.1 * 2**number)
        assert least <= wait_s <= 1.3 * least


@pytest.mark.parametrize(
    "failure",
    [
        Failure(grpc.StatusCode.INVALID_ARGUMENT),
        Failure(grpc.StatusCode.DEADLINE_EXCEEDED),
        Failure(grpc.StatusCode.INTERNAL),
        Failure(OVERLOADED),  # without a hint: a message over the bound, which will not get smaller
    ],
)
def test_what_will_not_pass_is_not_tried_again(failure: Failure) -> None:
    with pytest.raises(RequestFailed) as last:
        Attempts(10, RetryBudget(), Clock()).wait_before_next_s(failure)
    assert (last.value.status, last.value.message, last.value.attempts) == (failure.code(), "no", 1)


def test_no_attempt_is_begun_that_the_deadline_would_cut_off() -> None:
    clock = Clock()
    attempts = Attempts(1.0, RetryBudget(), clock)
    attempts.wait_before_next_s(Failure(OVERLOADED, 300))
    clock.now_s = 0.8
    assert attempts.remaining_s == pytest.approx(0.2)
    with pytest.raises(RequestFailed) as last:
        attempts.wait_before_next_s(Failure(OVERLOADED, 300))
    assert last.value.attempts == 2


def test_a_budget_bounds_retries_over_all_requests_and_is_earned_back_by_successes() -> None:
    budget = RetryBudget(2)

    def retried() -> bool:
        try:
            Attempts(10, budget, Clock()).wait_before_next_s(Failure(AWAY))
        except RequestFailed:
            return False
        return True

    assert [retried() for _ in range(4)] == [True, True, False, False]
    for _ in range(10):
        budget.succeeded()
    assert [retried(), retried()] == [True, False]
    for _ in range(1000):
        budget.succeeded()
    assert [retried() for _ in range(3)] == [True, True, False]
