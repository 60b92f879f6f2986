"""The fsspec file system of a URL, with the settings that S3 gets of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from east_core.errors import StoreError
from east_core.store.faults import redact


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

    Raises StoreError where no such protocol is installed.
    """
    import fsspec

    settings = {**_s3_settings(transfer), **options} if is_s3(url) else dict(options)
    protocol = fsspec.utils.get_protocol(url)
    try:
        fs = fsspec.filesystem(protocol, skip_instance_cache=True, **settings)
    except (ValueError, ImportError) as error:
        raise StoreError(
            f"can't open the store {redact(url)}: {error}; is the URL right, and fsspec's package "
            f"for {protocol}:// installed?"
        ) from error
    if is_s3(url):
        fs.retries = 1  # ours and botocore's are enough
    return fs


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
    return url.split("://")[0] in ("s3", "s3a")
