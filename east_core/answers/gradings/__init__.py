"""Kinds of tasks: how the answers of each are read and compared. One file a kind.

A new one is a class here and its name in the `Grading` union.
"""

from typing import Annotated

from pydantic import Field

from east_core.answers.gradings.base import BaseGrading
from east_core.answers.gradings.choice import ChoiceGrading
from east_core.answers.gradings.code import CodeGrading
from east_core.answers.gradings.exact import ExactGrading
from east_core.answers.gradings.mathematics import MathGrading
from east_core.answers.gradings.number import NumberGrading
from east_core.answers.gradings.python import PythonGrading
from east_core.answers.gradings.sets import GradingOfSets
from east_core.answers.gradings.text import TextGrading

__all__ = [
    "MATH",
    "BaseGrading",
    "ChoiceGrading",
    "CodeGrading",
    "ExactGrading",
    "Grading",
    "GradingOfSets",
    "MathGrading",
    "NumberGrading",
    "PythonGrading",
    "TextGrading",
]

Grading = Annotated[
    MathGrading
    | ChoiceGrading
    | TextGrading
    | ExactGrading
    | NumberGrading
    | PythonGrading
    | CodeGrading,
    Field(discriminator="kind"),
]
MATH = MathGrading()
