"""A root in an S3 bucket, or in any store that speaks its protocol with conditional writes.

Where it is and who may use it comes from the environment, by the names that AWS's own tools use: AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or a role, and AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL for another store than
Amazon's.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit, urlunsplit

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from exchange.net.addresses import is_host
from exchange.net.proxies import excluding_s3_proxies, hint_for_url
from exchange.storage.objects import (
    ABSENT,
    Condition,
    IfEtag,
    ObjectChanged,
    ObjectExists,
    ObjectInfo,
    ObjectMissing,
    StorageRefused,
    StorageUnavailable,
    StoredObject,
)

if TYPE_CHECKING:
    from obstore import UpdateVersion

_CONNECT_TIMEOUT_S = 5.0
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""The first that is set counts, as for AWS's own tools; obstore also knows the last."""


class S3Backend:
    """Retries nothing itself: whoever calls knows how long to go on."""

    def __init__(self, bucket: str, prefix: str, patience_s: float) -> None:
        self._where = f"s3://{bucket}/{prefix}"
        endpoint = _endpoint()
        self._proxy_hint = hint_for_url(endpoint or "https://s3.amazonaws.com")
        with self._explained(self._where):
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                config={"endpoint": endpoint} if endpoint else None,
                client_options={
                    **excluding_s3_proxies(endpoint),
                    "allow_http": endpoint.startswith("http://"),
                    "timeout": timedelta(seconds=patience_s),
                    "connect_timeout": timedelta(seconds=min(_CONNECT_TIMEOUT_S, patience_s)),
                },
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=patience_s)},
            )

    def get(self, key: str) -> StoredObject:
        with self._explained(key):
            found = self._store.get(key)
            return StoredObject(bytes(found.bytes()), found.meta["e_tag"] or "")

    def put(self, key: str, data: bytes, condition: Condition) -> str:
        mode: Literal["create", "overwrite"] | UpdateVersion = "create" if condition == ABSENT else "overwrite"
        if isinstance(condition, IfEtag):
            mode = {"e_tag": condition.etag}
        with self._explained(key):
            try:
                result = self._store.put(key, data, mode=mode, use_multipart=False)
            except FileNotFoundError as error:
                if condition is None or "NoSuchBucket" in str(error):
                    raise
                raise ObjectChanged(f"{key} was deleted by somebody else") from None
            except AlreadyExistsError as error:
                # 412 to a creation means that there is something. 409 to any write means that it met another one,
                # wrote nothing and is to be tried again; of a creation obstore says the same for both.
                if condition == ABSENT and self._is_there(key):
                    raise ObjectExists(f"{key} exists") from None
                raise StorageUnavailable(
                    f"{self._where} did not write {key}: another write to it was under way; try again"
                ) from error
        return result["e_tag"] or ""

    def head(self, key: str) -> str:
        with self._explained(key):
            return self._store.head(key)["e_tag"] or ""

    def _is_there(self, key: str) -> bool:
        try:
            self.head(key)
        except ObjectMissing:
            return False
        return True

    def delete(self, key: str) -> None:
        with self._explained(key):
            self._store.delete(key)

    def list_objects(self, folder: str, after: str) -> list[ObjectInfo]:
        with self._explained(folder):
            chunks = self._store.list(folder, offset=after or None)
            found = [
                ObjectInfo(meta["path"], meta["size"], meta["last_modified"].timestamp())
                for chunk in chunks
                for meta in chunk
            ]
        return sorted(found, key=lambda info: info.key)

    def list_folders(self, folder: str) -> list[str]:
        with self._explained(folder):
            return sorted(
                path.rpartition("/")[2] for path in self._store.list_with_delimiter(folder)["common_prefixes"]
            )

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise StorageRefused(f"{self._where} has no such bucket: create it, or give another --root") from error
            raise ObjectMissing(f"{what} is not in {self._where}") from None
        except PreconditionError:
            raise ObjectChanged(f"{what} was changed by somebody else") from None
        except (PermissionDeniedError, UnauthenticatedError, NotSupportedError) as error:
            raise StorageRefused(f"{self._where} refuses {what}: check AWS_* ({_first_line(error)})") from error
        except (BaseError, OSError) as error:
            raise StorageUnavailable(
                f"{self._where} did not answer for {what}: {_first_line(error)}{self._proxy_hint}"
            ) from error


def _endpoint() -> str:
    """Return the endpoint that the environment names, empty where it names none.

    Raises:
        StorageRefused: it is no URL that can be called.
    """
    name = next(filter(os.environ.get, _ENDPOINT_VARIABLES), "")
    url = os.environ.get(name, "")
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and is_host(parts.hostname or "") and parts.port != 0
    except ValueError:  # a port out of range, or a bracket that is not closed
        is_url = False
    if not is_url or re.search(r"[\s?#@]", url):
        raise StorageRefused(f"{name} is {url!r}: give http://HOST:PORT or https://HOST:PORT")
    return urlunsplit(parts).rstrip("/")  # with its scheme in lower case


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
