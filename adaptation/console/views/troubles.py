"""What the learner says does not work, from its memory alone: it is told while the root is away, too."""

from adaptation.control.learner.learner import Learner


def learner_troubles(learner: Learner) -> tuple[str, ...]:
    """Duties with the same reason in one line; the lease, without which nothing is changed, first."""
    duties_of: dict[str, list[str]] = {}
    for duty, why in sorted(learner.troubles.copy().items(), key=lambda each: (each[0] != "lease", each[0])):
        duties_of.setdefault(why, []).append(duty)
    return tuple(f"{', '.join(duties)}: {why}" for why, duties in duties_of.items())
