"""What people decide about a domain's prior, each decision told in the audit before it is written."""

from datetime import UTC, datetime

from exchange.plan.priors import PriorRecord, change_prior
from exchange.registry.audit import AuditEntry, audited
from exchange.storage import StorageRoot


def freeze_prior(root: StorageRoot, domain: str, *, frozen: bool, who: str, why: str = "") -> PriorRecord:
    """Keeps a domain's prior in the serving plan as it is, or lets it move again.

    Raises:
        RecordError, StorageError: it cannot be read or written.
    """
    what = "freeze-prior" if frozen else "unfreeze-prior"
    with audited(root, AuditEntry(who=who, what=what, domain=domain, why=why)):
        return change_prior(root, domain, lambda record: record.model_copy(update={"frozen": frozen}))


def reset_prior(root: StorageRoot, domain: str, *, who: str, why: str = "") -> PriorRecord:
    """Forgets what a domain's frames have shown; it is served without adjustment until new ones say enough.

    Raises as `freeze_prior`.
    """
    begins_anew = {"frozen": False, "since": datetime.now(UTC), "estimates": {}}
    with audited(root, AuditEntry(who=who, what="reset-prior", domain=domain, why=why)):
        return change_prior(root, domain, lambda record: record.with_values(**begins_anew))
