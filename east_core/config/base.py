"""What every config model shares: it is frozen, and holds no credentials."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of every config model: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _without_credentials(url: str) -> str:
    """`url`, which must not hold user:password@: settings stay in records, logs and Prefect."""
    if re.match(r"[\w+.:-]*://[^/\s]*@", url):
        raise ValueError("leave user and password out of the URL; set them in the environment")
    return url


Location = Annotated[str, AfterValidator(_without_credentials)]
