"""Credentials, taken out of what is shown: by value (the environment's) and by shape."""

import os
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from east_core.store.location import holds_password

HIDDEN = "***"
SHORTEST = 8  # characters; anything shorter would take words out of plain sentences
_SECRET_WORDS = {
    "AUTH", "CONNECTIONSTRING", "CREDENTIAL", "CREDENTIALS", "KEY", "PASS", "PASSPHRASE", "PASSWD",
    "PASSWORD", "PAT", "PRIVATE", "SAS", "SECRET", "SECRETS", "SIGNATURE", "TOKEN", "TOKENS",
}  # fmt: skip
# What a secret looks like wherever it stands. Each service's own documentation gives the prefix;
# a plain 40-digit key (W&B's older ones) looks like a commit, so it is known by its name alone.
_SHAPES = re.compile(
    r"""
      \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                   # AWS access key ids
    | \bya29\.[\w.-]{20,}                             # Google OAuth access tokens
    | \bAIza[\w-]{35}                                 # Google API keys
    | \bGOOG[\w]{20,}                                 # GCS HMAC keys
    | \bhf_[A-Za-z0-9]{20,}                           # Hugging Face
    | \bwandb_v\d+_[\w-]{20,}                         # Weights & Biases
    | \b(?:gh[opsur]_[A-Za-z0-9]{30,}|github_pat_\w{30,})   # GitHub
    | \bglpat-[\w-]{20,}                              # GitLab
    | \bxox[abeprs]-[\w-]{10,}                        # Slack
    | \bsk-[\w-]{20,}                                 # OpenAI, Anthropic
    | \bpypi-[\w-]{50,}                               # PyPI
    | \bpn[ubst]_[A-Za-z0-9]{20,}                     # Prefect
    | \beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*             # JSON web tokens (Azure AD, Kubernetes)
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)
# name=value, where the name says that the value is secret: query strings, headers, settings.
_NAMED = re.compile(
    r"""(?ix)
    (\b(?:sig|accountkey|sharedaccesssignature|sharedaccesskey|x-(?:amz|goog)-(?:signature|
      security-token|credential)|access_token|refresh_token|api[_-]?key|(?:wandb|hf)\w*key|password|
      passwd|secret(?:_?access_?key)?|client_secret)["']?\s*(?:=|:|%3D)\s*["']?
    | \bauthorization["']?\s*[:=]\s*["']?(?:bearer|basic)\s+ | \bbearer\s+)
    ([^\s&"',;]{8,})
    """
)
_URL = re.compile(r"[\w+.:-]*://[^\s'\"]+")


def redact(text: str) -> str:
    """`text` without credentials: none of the environment's secrets, nothing shaped like one, and
    no password in a URL.
    """
    for value in sorted(_secret_values(), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    text = _URL.sub(_without_password, text)
    text = _NAMED.sub(rf"\1{HIDDEN}", text)
    return _SHAPES.sub(HIDDEN, text)


def _secret_values() -> Iterator[str]:
    """The secrets of the environment, as they are and as URLs spell them."""
    for name, value in os.environ.items():
        if _is_secret_name(name) and len(value) >= SHORTEST and not os.path.exists(value):  # noqa: PTH110 any text
            yield from {value, quote(value, safe=""), quote(value), quote_plus(value)}


def _is_secret_name(name: str) -> bool:
    words = set(name.upper().split("_"))
    return bool(words & _SECRET_WORDS) or name.upper().endswith(("CONNECTION_STRING", "APIKEY"))


def _without_password(found: re.Match[str]) -> str:
    url = found[0]
    if not holds_password(url):
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{HIDDEN}@{rest.rpartition('@')[2]}"
