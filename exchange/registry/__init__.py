"""The releases of a root: numbered, complete, and never changed.

A publication claims the next number, uploads the release's files and then its manifest, and is done when the number's
entry in the ledger is there. Each of these writes creates something new, so a publication that was cut off leaves
nothing that anybody takes for a release. Its number is then made void by an entry that takes the same key: a publisher
that was only slow finds the number decided, and fails.

    releases/7/claim.json      who began to publish it, and for which round
    releases/7/...             files as the manifest lists them; manifest.json last
    releases/ledger/7.json     published (`LedgerEntry`) or void (`VoidEntry`)
    releases/7/collected.json  published once, deleted since; the manifest stays for whoever asks what it was
"""

from exchange.registry.collecting import KEPT_WHEN_COLLECTED, make_void, mark_collected, unmark_collected
from exchange.registry.entries import (
    LedgerEntry,
    Origin,
    VoidEntry,
    anchor_of,
    collected_versions,
    read_decided,
    read_ledger,
    read_published_manifest,
    require_present,
)
from exchange.registry.fetching import fetch_release
from exchange.registry.publishing import publish, repair_entries, void_damaged_claims

__all__ = [
    "KEPT_WHEN_COLLECTED",
    "LedgerEntry",
    "Origin",
    "VoidEntry",
    "anchor_of",
    "collected_versions",
    "fetch_release",
    "make_void",
    "mark_collected",
    "publish",
    "read_decided",
    "read_ledger",
    "read_published_manifest",
    "repair_entries",
    "require_present",
    "unmark_collected",
    "void_damaged_claims",
]
