"""Times in whatever unit they were written."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mqctx.inspection._moments import moment

WRITTEN = "2026-01-31T06:43:48Z"
SECONDS = 1_769_841_828


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        SECONDS * 1_000,
        SECONDS * 1_000_000,
        SECONDS * 1_000_000_000,
        str(SECONDS * 1_000),
        "2026-01-31T06:43:48+00:00",
        "2026-01-31T07:43:48+01:00",
        "2026-01-31T06:43:48",
        " 2026-01-31T06:43:48Z ",
        "2026-01-31 06:43:48:000000 Z",
        datetime(2026, 1, 31, 6, 43, 48, tzinfo=UTC),
        datetime(2026, 1, 31, 7, 43, 48, tzinfo=timezone(timedelta(hours=1))),
    ],
)
def test_a_time_is_rfc_3339_in_utc(value: Any) -> None:
    assert moment(value) == WRITTEN


def test_a_fraction_is_kept_to_the_millisecond() -> None:
    assert moment("2026-01-31T06:43:48.1234567Z") == "2026-01-31T06:43:48.123Z"


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, "", "soon", b"soon", [], {}, 10**400, float("nan"), "9" * 5000]
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert moment(value) is None
