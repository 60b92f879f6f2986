"""A tokenizer that transformers reads otherwise than its file says is refused, with what helps."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from east_core.errors import DataError
from east_core.inputs.inspection import check_against_file


class RewritingTokenizer:
    """What transformers makes of a file that is not of its model type's kind."""

    def encode(self, text: str, **_: Any) -> list[int]:
        return [len(text)]


@pytest.mark.parametrize(
    ("named", "cure"),
    [
        ("LlamaTokenizerFast", "set tokenizer_class to PreTrainedTokenizerFast"),
        (None, "set tokenizer_class to PreTrainedTokenizerFast"),
        ("PreTrainedTokenizerFast", "it takes RewritingTokenizer for models of this type"),
    ],
)
def test_the_cure_is_one_that_was_not_tried_yet(
    tmp_path: Path, named: str | None, cure: str
) -> None:
    Tokenizer(models.WordLevel({"?": 0}, unk_token="?")).save(str(tmp_path / "tokenizer.json"))
    if named is not None:
        settings = json.dumps({"tokenizer_class": named})
        (tmp_path / "tokenizer_config.json").write_text(settings)
    with pytest.raises(DataError, match=cure):
        check_against_file(RewritingTokenizer(), tmp_path, "model m")  # type: ignore[arg-type]
