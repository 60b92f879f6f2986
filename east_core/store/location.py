"""What the URL of a store says before anything is opened: where it is, and what can't be there."""

import re
from pathlib import Path

from east_core.errors import StoreError

# A bucket has no port, so a colon before an '@' is a password's.
_BUCKETS = {"s3", "s3a", "gs", "gcs"}
# What stands before the host is a key or a token, never the mere name of a user.
_NO_USER = {*_BUCKETS, "http", "https", "webdav", "webdavs"}
# Here the first part is made beforehand, by its owner: a bucket, or a container.
BUCKETED = {*_BUCKETS, "abfs", "abfss", "az"}
# What the conformance suite runs against (docs/artifacts.md has its table).
SUPPORTED = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "sftp", "ssh", "memory"}
# These have no write that is refused where a file is, or none at all.
READ_ONLY = {"http", "https", "webdav", "webdavs", "dav", "davs", "github", "zip", "tar", "data"}
# pip's name of what speaks each scheme.
PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs",
    "az": "adlfs", "sftp": "paramiko", "ssh": "paramiko", "http": "aiohttp", "https": "aiohttp",
}  # fmt: skip
_CREDENTIALS = {
    "s3fs": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret",
    "gcsfs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "adlfs": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
    "paramiko": "the user's SSH key: an agent, or ~/.ssh/id_ed25519",
}


def scheme_of(url: str) -> str:
    """The part before "://", in lower case; "" for a local path."""
    return url.split("://", 1)[0].lower() if "://" in url else ""


def is_local(url: str) -> bool:
    """Whether a URL is a folder of this machine (or one that is mounted here)."""
    return scheme_of(url) in ("", "file", "local")


def local_path(url: str) -> Path:
    """The folder that a local URL names."""
    try:
        return Path(re.sub(r"^(file|local)://", "", url)).expanduser()
    except RuntimeError as error:
        raise StoreError(f"the store {url} can't be found: {error}; give a full path") from error


def holds_password(url: str) -> bool:
    """Whether a URL holds a password, or a key in the place of one.

    `abfs://container@account.dfs.core.windows.net` and `sftp://user@host` hold none. Each URL of a
    chain ("simplecache::s3://...") is looked at.
    """
    return any(map(_holds_password, url.split("::")))


def check_url(url: str) -> str:
    """`url` where a store can be at it. Raises StoreError, one line, where it holds a secret or is
    no URL of one place.
    """
    if holds_password(url):
        raise StoreError(
            "the store's URL holds credentials; leave them out and set them in the environment: "
            f"{credentials_of(url)}"
        )
    if "::" in url and "://" in url:
        raise StoreError(f"the store {url} is a chain of URLs; give the last one alone")
    if slip := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/?(?!/)", url):
        scheme = slip[1].lower()
        if scheme in SUPPORTED | READ_ONLY | {"file", "local"}:
            root = "/" if scheme in ("file", "local") else ""
            meant = f"{scheme}://{root}{url[slip.end() :]}"
            raise StoreError(f"the store {url} is no URL; did you mean {meant}?")
    return url


def credentials_of(url: str) -> str:
    """Where the credentials of a store are set, for a person."""
    scheme = scheme_of(url.rsplit("::", 1)[-1])
    return _CREDENTIALS.get(PACKAGES.get(scheme, ""), "see the service's own documentation")


def kind_note(url: str) -> str:
    """What a person should know of a store that can be written to; "" where there is nothing."""
    scheme = scheme_of(url)
    if scheme == "memory":
        return "it lies in this process's memory: all of it is lost when the process ends"
    if scheme in ("", "file", "local") or scheme in SUPPORTED:
        return ""
    return f"{scheme}:// is none of the stores that this project is tested with (docs/artifacts.md)"


def require_writable_kind(url: str) -> None:
    """Raises StoreError for a store that has no exclusive write, or no write at all."""
    scheme = scheme_of(url)
    if scheme in READ_ONLY:
        raise StoreError(
            f"{scheme}:// can't hold a run: it has no write that is refused where a file is, so "
            "two writers could not be told apart; use S3, GCS, Azure, SFTP or a folder"
        )


def _holds_password(url: str) -> bool:
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return False
    host_and_port = re.match(r"([^/@:]+@)?[^/@:]+:\d{1,5}(/|$)", rest)
    if host_and_port and scheme.lower() not in _BUCKETS:
        return False
    before = rest.rpartition("@")[0]
    if scheme.lower() in _NO_USER and "/" not in before:
        return True
    user = before if ":" in before.split("/")[0] else rest.split("/")[0].rpartition("@")[0]
    return ":" in user
