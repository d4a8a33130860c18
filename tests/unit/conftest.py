from typing import Any

import pytest

from mqctx import Propagator, Rejection


class Rejections(list[Rejection]):
    """Collects what a propagator rejects."""

    def propagator(self, **settings: Any) -> Propagator:
        return Propagator(on_rejected=self.append, **settings)


@pytest.fixture
def rejected() -> Rejections:
    return Rejections()
