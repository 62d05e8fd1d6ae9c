"""What goes wrong in a run, drawn from its seed and nothing else."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

RootKind = Literal["disk", "s3"]
Stage = Literal["starting", "capturing", "learning", "rollout", "order", "after"]
RoundKind = Literal["plain", "refused", "forced", "crashing", "cancelled", "withdrawn", "dropped"]
EngineKind = Literal["fake", "triton"]
FaultKind = Literal["kill", "failpoint", "full disk", "storage", "truncated"]
OrderKind = Literal["promote", "rollback", "reset"]
STAGES: tuple[Stage, ...] = ("starting", "capturing", "learning", "rollout", "order", "after")
LEASE_S: dict[RootKind, float] = {"disk": 5.0, "s3": 12.0}
DEFAULT_LEASE_S = 15.0

KILLED = ("gateway", "learner", "worker", "everything")
FULL_DISK = ("gateway", "learner")
STORAGE: dict[RootKind, tuple[str, ...]] = {
    "disk": ("away",),
    "s3": ("slow", "failing", "deaf", "cut off"),
}
TRUNCATED = (
    "gateway's release",
    "gateway's last plan",
    "gateway's spool",
    "learner's release",
    "round's folder",
    "round's copies",
    "round's state",
)
_POSSIBLE_AT: dict[str, tuple[Stage, ...]] = {
    "worker": ("learning",),
    "gateway's release": ("rollout", "order", "after"),
    "gateway's spool": ("capturing", "learning", "rollout"),
    "learner's release": ("learning", "rollout", "order"),
    "round's folder": ("learning",),
    "round's copies": ("learning",),
    "round's state": ("learning", "rollout"),
}
_NEEDS: dict[str, RoundKind] = {
    **dict.fromkeys(("round's folder", "round's copies"), "cancelled"),  # endless until then: there is time to strike
    "round.after-forced": "forced",
    "round.after-withdrawal": "withdrawn",
    **{f"round.{when}-cancelled": "cancelled" for when in ("before", "after")},
    **{f"round.{when}-rejected": "refused" for when in ("before", "after")},
    **{f"round.{when}-failed": "crashing" for when in ("before", "after")},
    **{f"rollout.{when}-drop-candidate": "dropped" for when in ("before", "audited", "after")},
}
_MOST_PASSINGS = {"publish.after-file": 6, "round.after-report": 2} | {
    f"publish.after-{what}": 2 for what in ("claim", "files", "manifest", "ledger")
}
FAILPOINTS = (
    *(f"learner.after-first-{what}" for what in ("release", "plan")),
    *(f"publish.after-{what}" for what in ("claim", "file", "files", "manifest", "ledger")),
    *(f"round.{when}-queued" for when in ("before", "after")),
    *(f"snapshot.after-{what}" for what in ("shard", "list")),
    *(
        f"round.{when}-{phase}"
        for phase in ("snapshot", "learning", "publishing", "rollout", "promoted", "worker")
        for when in ("before", "after")
    ),
    *(f"round.after-{what}" for what in ("report", "verdict", "publish", "candidate")),
    *(f"rollout.{when}-{what}" for what in ("try", "promote") for when in ("before", "audited", "after")),
    *(f"{order}.after-{what}" for order in ("promote", "rollback", "reset") for what in ("audit", "plan")),
    *(f"gc.after-{what}" for what in ("mark", "file")),
    *(f"spool.after-{what}" for what in ("frame", "shard", "upload")),
    *(what for what in _NEEDS if "." in what),
)


@dataclass(frozen=True)
class FaultPlan:
    seed: int
    kind: FaultKind
    what: str
    """Who is killed, which failpoint, whose disk, how the storage fails, or which file."""
    root: RootKind
    at: Stage
    """Failpoints are struck where they are passed."""
    delay_s: float
    lasts_s: float
    """Of a full disk, or of a storage that fails."""
    passing: int
    """Of a failpoint."""
    cut: float
    """Share of a truncated file, or of the bytes that a full disk takes of a write, that is left."""
    engine: EngineKind
    gateways: int
    round: RoundKind
    order: OrderKind
    direct: bool
    """The order takes the lease from the learner."""
    moves: bool
    """The learner that goes on is on another machine: it has another folder."""
    lease_s: float

    @property
    def fault(self) -> str:
        passing = f":{self.passing}" if self.kind == "failpoint" and self.passing > 1 else ""
        return f"{self.kind}: {self.what}{passing}"


def draw(seed: int, roots: tuple[RootKind, ...], triton_share: float = 0.0) -> FaultPlan:
    """Neighbouring seeds have different faults: all of them come in so many seeds as there are.

    With a real Triton, which a share of the seeds have, a gateway's death is Triton's, every other time.
    """
    faults = list(_faults(roots))
    random.Random("faults").shuffle(faults)  # noqa: S311 - no secret
    kind, what, only_root = faults[seed % len(faults)]
    rng = random.Random(seed)  # noqa: S311
    of_engine = random.Random(f"engine {seed}")  # noqa: S311 - its own, so that the share changes nothing else
    engine: EngineKind = "triton" if of_engine.random() < triton_share else "fake"
    if (engine, kind, what) == ("triton", "kill", "gateway") and of_engine.random() < 0.5:
        what = "triton"
    root = only_root or _any_of(roots, rng)
    order: OrderKind = rng.choice(("promote", "rollback", "reset"))
    if kind == "failpoint" and what.split(".")[0] in ("promote", "rollback", "reset"):
        order = what.split(".")[0]  # type: ignore[assignment]
    plain_rounds: tuple[RoundKind, ...] = ("plain", "plain", "plain", "plain", "refused", "forced", "dropped")
    drawn_round = rng.choice(plain_rounds) if kind != "failpoint" else "plain"
    is_patient = what in ("learner", "everything") and rng.random() < 0.3
    return FaultPlan(
        seed=seed,
        kind=kind,
        what=what,
        root=root,
        at=rng.choice(_POSSIBLE_AT.get(what, STAGES)),
        delay_s=rng.uniform(0.0, 0.5 if what == "worker" else 1.5),
        lasts_s=rng.uniform(0.5, 3.0),
        passing=rng.randint(1, _MOST_PASSINGS.get(what, 1)),
        cut=rng.choice((0.0, rng.random(), 0.999)),
        engine=engine,
        gateways=rng.choice((1, 1, 2)),
        round=_NEEDS.get(what, drawn_round),
        order=order,
        direct=order == "reset" or (kind != "failpoint" and rng.random() < 0.3),
        moves=rng.random() < 0.3,
        lease_s=DEFAULT_LEASE_S if is_patient else LEASE_S[root],
    )


def _any_of(roots: tuple[RootKind, ...], rng: random.Random) -> RootKind:
    """The first one more often than the others: a local bucket is slow."""
    return rng.choice(roots if rng.random() < 0.5 else roots[:1])


def _faults(roots: tuple[RootKind, ...]) -> Iterator[tuple[FaultKind, str, RootKind | None]]:
    """The root is given where the fault is one of its own."""
    for what in (*KILLED, *KILLED, *KILLED):
        yield "kill", what, None
    for what in FAILPOINTS:
        yield "failpoint", what, None
    if "disk" in roots:
        for what in (*FULL_DISK, *FULL_DISK):
            yield "full disk", what, "disk"
    for root in roots:
        for what in STORAGE[root]:
            yield "storage", what, root
            yield "storage", what, root
    for what in TRUNCATED:
        yield "truncated", what, None
