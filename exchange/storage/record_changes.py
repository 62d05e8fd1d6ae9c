"""A record that several may change: read, changed, and written only where nobody else wrote in between."""

import random
import time
from collections.abc import Callable

from exchange.storage import ObjectChanged, ObjectExists, StorageRoot
from exchange.storage.records import RecordType

_ATTEMPTS = 8
_FIRST_PAUSE_S = 0.005
"""Two who change the same record again and again would otherwise stay in step."""


def change_record(
    root: StorageRoot, key: str, kind: type[RecordType], change: Callable[[RecordType | None], RecordType]
) -> RecordType:
    """Writes what `change` makes of the record as it is, None where there is none; returns it.

    `change` may be called again where somebody else wrote in between. What it leaves alone stays unwritten.

    Raises:
        RecordError, StorageError: the record cannot be read or written.
    """
    for attempt in range(_ATTEMPTS):
        time.sleep(random.uniform(0, _FIRST_PAUSE_S * 2**attempt) if attempt else 0)  # noqa: S311 - not a secret
        found = root.read_if_any(key)
        present = None if found is None else kind.decode(found.data, key)
        record = change(present)
        if record == present:
            return record
        try:
            if found is None:
                root.create(key, record.encode())
            else:
                root.replace(key, record.encode(), found.etag)
        except (ObjectExists, ObjectChanged):
            continue  # whatever is there is read before anything is decided
        return record
    raise ObjectChanged(f"{key} changes too quickly: try again")
