from pathlib import Path

from east_core.config.reference import reference

PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"


def test_the_configuration_page_is_what_the_models_say() -> None:
    assert PAGE.read_text("utf-8") == reference(), (
        "run: python -m east_core.config.reference > docs/configuration.md"
    )
