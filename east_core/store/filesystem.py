"""The fsspec file system of a URL, with the settings that S3 gets of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from east_core.errors import StoreError
from east_core.store.location import PACKAGES, scheme_of
from east_core.store.redaction import redact


@dataclass(frozen=True, slots=True)
class Transfer:
    """How hard a transfer tries: memory stays near `part_bytes` x `parallel`.

    A step (a file up, a range down) is tried `attempts` times, with waits that grow from
    `backoff_s` to `longest_wait_s`, and each of its S3 requests `request_attempts` times by
    botocore. A transfer that moves no byte for `stall_s` seconds counts as failed.
    """

    attempts: int = 5
    request_attempts: int = 3
    backoff_s: float = 1.0
    longest_wait_s: float = 20.0
    stall_s: float = 60.0
    part_bytes: int = 16 * 2**20
    parallel: int = 8


def open_filesystem(url: str, options: Mapping[str, Any], transfer: Transfer) -> Any:
    """The fsspec file system of `url`.

    Raises StoreError where what speaks its protocol is not installed, and whatever the file
    system raises where it connects at once and can't.
    """
    scheme = scheme_of(url)
    try:
        kind = _kind(scheme)
    except (ValueError, ImportError) as error:
        raise StoreError(_unsupported(url, scheme, error)) from error
    # account, host, port and user stand in the URL of some services
    settings = {**kind._get_kwargs_from_urls(url), **(_s3_settings(transfer) if is_s3(url) else {})}
    fs = kind(skip_instance_cache=True, **{**settings, **options})
    if is_s3(url):
        fs.retries = 1  # ours and botocore's are enough
    return fs


def _kind(scheme: str) -> Any:
    """The class that speaks a scheme. SFTP is fsspec's own: its client has the exclusive write."""
    import fsspec

    if scheme in ("sftp", "ssh"):
        from fsspec.implementations.sftp import SFTPFileSystem

        return SFTPFileSystem
    return fsspec.get_filesystem_class(scheme)


def _unsupported(url: str, scheme: str, error: Exception) -> str:
    if package := PACKAGES.get(scheme):
        return f"{scheme}:// needs another package: pip install {package}"
    return f"can't open the store {redact(url)}: {error}; is the URL right?"


def _s3_settings(transfer: Transfer) -> dict[str, Any]:
    """Settings of s3fs; endpoint, region, profile and keys are botocore's to find (AWS_*).

    botocore addresses a custom endpoint path-style by itself.
    """
    return {
        "use_listings_cache": False,
        "config_kwargs": {
            # every file's SHA-256 is in its record, and older servers know no newer checksums
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "connect_timeout": 10,
            "read_timeout": transfer.stall_s,
            "retries": {"total_max_attempts": transfer.request_attempts, "mode": "standard"},
            "max_pool_connections": 2 * transfer.parallel,
        },
    }


def is_s3(url: str) -> bool:
    """Whether a URL is of S3, which gets settings of its own."""
    return scheme_of(url) in ("s3", "s3a")
