"""Which of the stores' errors pass by themselves, by the libraries' own exceptions."""

import aiohttp
import pytest
from aiohttp.http_exceptions import (
    BadHttpMessage,
    ContentLengthError,
    HttpProcessingError,
    TransferEncodingError,
)
from botocore.exceptions import ClientError

from east_core.store.faults import http_status, is_transient

BROKEN_ANSWERS = [
    ContentLengthError("received 188 of 377 bytes"),
    TransferEncodingError("a chunk is cut"),
    BadHttpMessage("garbage"),
    HttpProcessingError(code=401, message="cut"),
]


def _told_by_aiohttp(cause: Exception) -> Exception:
    error = aiohttp.ClientPayloadError(f"Response payload is not completed: {cause!r}")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("cause", BROKEN_ANSWERS, ids=lambda cause: type(cause).__name__)
def test_a_cut_answer_passes_whatever_code_its_parser_gives(cause: Exception) -> None:
    error = _told_by_aiohttp(cause)
    assert http_status(error) is None
    assert is_transient(error)


@pytest.mark.parametrize(
    ("status", "passes"), [(400, False), (403, False), (429, True), (503, True)]
)
def test_a_services_own_status_counts(status: int, passes: bool) -> None:
    answer = {"Error": {"Code": "Told"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert is_transient(ClientError(answer, "GetObject")) is passes
