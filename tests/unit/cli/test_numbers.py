"""The numbers that the commands' options take."""

import pytest
from click.testing import CliRunner

from mqctx.cli import commands


@pytest.mark.parametrize(
    "arguments",
    [
        ["trace", "--seconds", "nan"],
        ["redrive", "dead", "--rate", "nan"],
        ["redrive", "dead", "--watch", "NaN"],
    ],
    ids=" ".join,
)
def test_what_is_not_a_number_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 2
    assert f"{arguments[-1]!r} is not a number" in result.stderr
