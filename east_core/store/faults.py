"""What a store's errors mean: whether they pass by themselves, and what they say to a person."""

import asyncio
import errno
import os
import re
from typing import Any

from east_core.errors import StoreError

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_PERMANENT = (PermissionError, FileNotFoundError, FileExistsError, IsADirectoryError)
_LOCAL_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}


def is_transient(error: BaseException) -> bool:
    """Whether an error of a store may pass by itself: time-outs, resets, 429 and 5xx."""
    if isinstance(error, _PERMANENT) or getattr(error, "errno", None) in _LOCAL_FAULTS:
        return False
    status = _http_status(error)
    if status is not None:
        return status in (408, 409, 429) or status >= 500 or _error_code(error) == "RequestTimeout"
    if isinstance(error, OSError | TimeoutError | asyncio.TimeoutError | EOFError):
        return True
    return type(error).__module__.split(".")[0] in _NETWORK_PACKAGES and _is_network(error)


_NETWORK_PACKAGES = {"botocore", "aiobotocore", "aiohttp", "urllib3", "fsspec"}
_NETWORK_ERRORS = {
    "ClientError",
    "ClientPayloadError",
    "ConnectionError",  # botocore's, which is no OSError
    "FSTimeoutError",
    "HTTPClientError",
    "IncompleteReadError",
    "ResponseParserError",
}
_SETTING_ERRORS = {"ProxyConnectionError", "SSLError"}


def _is_network(error: BaseException) -> bool:
    """Whether a library's own exception tells of the network rather than of a setting."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & _NETWORK_ERRORS) and not names & _SETTING_ERRORS


def redact(text: str) -> str:
    """`text` without the credentials of the environment and without user:password@ in URLs."""
    for name in SECRETS:
        if len(secret := os.environ.get(name, "")) >= 8:
            text = text.replace(secret, "***")
    return re.sub(r"(\w+://)[^/@\s]+@", r"\1***@", text)


def _client_error(error: BaseException) -> Any:
    """botocore's error behind fsspec's, where there is one."""
    cause: BaseException | None = error
    while cause is not None and not hasattr(cause, "response"):
        cause = cause.__cause__
    return cause


def _http_status(error: BaseException) -> int | None:
    response = getattr(_client_error(error), "response", None)
    if not isinstance(response, dict):
        return None
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return int(status) if status is not None else None


def _error_code(error: BaseException) -> str:
    response = getattr(_client_error(error), "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def raise_if_bucket_gone(error: FileNotFoundError) -> None:
    """A missing bucket is no absent file: taking it for one would rebuild everything."""
    if _error_code(error) == "NoSuchBucket":
        raise StoreError(
            f"the bucket does not exist ({redact(told(error))}); create it, or correct the "
            "store's URL or AWS_ENDPOINT_URL"
        ) from error


def told(error: BaseException) -> str:
    """An error's type and text, on one line and of bounded length."""
    code = _error_code(error)
    text = " ".join(f"{code} {error}".split()) or "no message"
    return f"{type(error).__name__}: {text}"[:300]


def cure(error: BaseException) -> str:
    """What a person can do about an error of a store."""
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return "check the credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret)"
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return "free some disk space, or move EAST_CACHE and EAST_SCRATCH, and run again"
    return "run again when it is reachable: finished work is kept"
