import pytest

from tests.fuzz.oracle import declare


@pytest.fixture(autouse=True)
def _declared() -> None:
    declare()
