"""What a store's errors mean: whether they pass by themselves, and what they say to a person."""

import asyncio
import errno
import os
from collections.abc import Iterator

from east_core.errors import StoreError
from east_core.store.location import credentials_of
from east_core.store.redaction import redact

_PERMANENT = (PermissionError, FileNotFoundError, FileExistsError, IsADirectoryError)
_LOCAL_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}


def is_transient(error: BaseException) -> bool:
    """Whether an error of a store may pass by itself: time-outs, resets, 429 and 5xx."""
    if isinstance(error, _PERMANENT) or getattr(error, "errno", None) in _LOCAL_FAULTS:
        return False
    if is_denied(error):
        return False
    status = http_status(error)
    if status is not None:
        return status in (408, 409, 429) or status >= 500 or _error_code(error) == "RequestTimeout"
    if isinstance(error, OSError | TimeoutError | asyncio.TimeoutError | EOFError):
        return True
    return type(error).__module__.split(".")[0] in _NETWORK_PACKAGES and _is_network(error)


_NETWORK_PACKAGES = {
    "botocore", "aiobotocore", "aiohttp", "urllib3", "fsspec", "azure", "gcsfs", "google",
    "paramiko", "requests",
}  # fmt: skip
_NETWORK_ERRORS = {
    "ClientError",
    "ClientPayloadError",
    "ConnectionError",  # botocore's, which is no OSError
    "FSTimeoutError",
    "HTTPClientError",
    "IncompleteReadError",
    "ResponseParserError",
    "SSHException",
    "ServiceRequestError",
    "ServiceResponseError",
    "TransportError",
}
_SETTING_ERRORS = {
    "AuthenticationException",
    "BadHostKeyException",
    "ProxyConnectionError",
    "SSLError",
}


def _is_network(error: BaseException) -> bool:
    """Whether a library's own exception tells of the network rather than of a setting."""
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & _NETWORK_ERRORS) and not names & _SETTING_ERRORS


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it: fsspec's file systems wrap their service's own errors."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def http_status(error: BaseException) -> int | None:
    """The HTTP status that an error tells of; each service's library keeps it elsewhere."""
    for cause in _causes(error):
        if type(cause).__module__ == "aiohttp.http_exceptions":
            continue  # a broken answer: its "code" is what a server would say of a broken request
        response = getattr(cause, "response", None)
        if isinstance(response, dict):  # botocore
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:  # azure, aiohttp, gcsfs
            named = (getattr(cause, name, None) for name in ("status_code", "status", "code"))
            status = next((value for value in named if isinstance(value, int | str)), None)
        if status is not None and str(status).isdigit() and 100 <= int(status) < 600:
            return int(status)
    return None


def _error_code(error: BaseException) -> str:
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        if code := getattr(cause, "error_code", None):  # azure
            return str(getattr(code, "value", code))
    return ""


def raise_if_bucket_gone(error: Exception) -> None:
    """A missing bucket is no absent file: taking it for one would rebuild everything."""
    if _error_code(error) in ("NoSuchBucket", "ContainerNotFound"):
        raise bucket_gone(one_line(error)) from error


def bucket_gone(why: str) -> StoreError:
    """The error of a store whose bucket (container, host's folder) is not there."""
    return StoreError(
        f"the bucket does not exist ({redact(why)}); create it, or correct the store's URL or its "
        "endpoint (AWS_ENDPOINT_URL)"
    )


def one_line(error: BaseException) -> str:
    """An error's type and text, on one line and of bounded length."""
    code = _error_code(error)
    text = " ".join(f"{code} {error}".split()) or "no message"
    return f"{type(error).__name__}: {text}"[:300]


def next_step_for(error: BaseException, url: str) -> str:
    """What a person can do about an error of the store at `url`."""
    if is_denied(error):
        return f"check the credentials ({credentials_of(url)})"
    if isinstance(error, NotImplementedError):
        return "this kind of store can't do that; docs/artifacts.md lists those that can"
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return "free some disk space, or move EAST_CACHE and EAST_SCRATCH, and run again"
    return "run again when it is reachable: finished work is kept"


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
# What a disk says of itself rather than of a program's mistake.
DISK_FAULTS = {
    *_NO_ROOM, *_NO_LOCKS, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EIO
}  # fmt: skip


def disk_fault(
    doing: str, path: "os.PathLike[str]", error: OSError, setting: str = ""
) -> StoreError:
    """The one line for an error of a local (or mounted) disk; `setting` names what moves it."""
    elsewhere = f", or point {setting} at another disk," if setting else ""
    if error.errno in _NO_ROOM:
        next_step = f"free some disk space{elsewhere} and run again: finished work is kept"
    elif error.errno in _NO_LOCKS:
        next_step = f"that file system can't lock files; point {setting or 'it'} at a local disk"
    elif error.errno == errno.ESTALE:
        next_step = f"mount it anew{elsewhere} and run again: finished work is kept"
    else:
        next_step = f"check the path and its permissions{elsewhere} and run again"
    return StoreError(f"can't {doing} {os.fspath(path)}: {error.strerror or error}; {next_step}")


def is_denied(error: BaseException) -> bool:
    """Whether an error says that the credentials are missing, wrong or not enough."""
    names = " ".join(cls.__name__ for cause in _causes(error) for cls in type(cause).__mro__)
    words = ("PermissionError", "Credential", "Authentication", "RefreshError", "SigningError")
    if any(word in names for word in words) or "No authentication methods" in str(error):
        return True
    return http_status(error) in (401, 403) and _error_code(error) != "RequestTimeout"
