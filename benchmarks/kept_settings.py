"""Settings of the folder in which a benchmark goes on where it was cut off: two are not mixed in one table."""

import json
from argparse import Namespace
from collections.abc import Sequence

_FILE = "settings.json"
_ABSENT = "None"


def keep_settings(options: Namespace, deciding: Sequence[str]) -> dict[str, str]:
    """Leaves what decides in the folder `options.work`, or finds the same there; returns it.

    Raises:
        SystemExit: the folder's are others.
    """
    settings = {name: str(getattr(options, name)) for name in deciding}
    path = options.work / _FILE
    if not path.exists():
        path.write_text(json.dumps(settings, indent=1) + "\n")
    known = json.loads(path.read_text())
    if differing := [f"--{name.replace('_', '-')}" for name in deciding if known.get(name, _ABSENT) != settings[name]]:
        raise SystemExit(f"{options.work} was begun with another {', '.join(differing)}: name another --work")
    return settings
