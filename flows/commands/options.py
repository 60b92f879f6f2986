"""Arguments and options that several commands of `east` share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(help="TOML file; infra/configs has examples.")]
StudyPath = Annotated[
    Path, typer.Argument(help="TOML file of a study; infra/configs/compare-weightings.toml is one.")
]
Overrides = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="A.B=VALUE", help="Change one setting: --set sampling.temperature=0.8"
    ),
]
StoreUrl = Annotated[str, typer.Argument(help="The store: s3://bucket/prefix or a folder.")]
RunUrl = Annotated[
    str, typer.Argument(help="The run's folder: s3://bucket/prefix/NAME or .east/store/NAME")
]
LineUrl = Annotated[
    str, typer.Argument(help="The line of retraining: s3://bucket/prefix/NAME, .east/store/NAME")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
