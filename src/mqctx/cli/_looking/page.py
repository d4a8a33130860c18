"""The page of what `mqctx inspect` reads."""

from collections.abc import Callable, Sequence

from mqctx.cli._looking.messages import body_of
from mqctx.cli._looking.options import Options
from mqctx.cli._looking.summary import Summary
from mqctx.inspection import Message
from mqctx.inspection._pages import Page
from mqctx.inspection._why import why

__all__ = ["Paged"]


class Paged:
    """The messages as a page, beside what is printed.

    Args:
        page: The page that they are written to.
        put_in_place: Ends the page.
        options: Those of the command, some of which the page names.
        by: The names to group by, if some were given.
        with_body: Whether bodies are shown, too.
    """

    def __init__(
        self,
        page: Page,
        put_in_place: Callable[[], None],
        options: Options,
        by: Sequence[str],
        *,
        with_body: bool,
    ) -> None:
        self._page = page
        self._put_in_place = put_in_place
        self._options = options
        self._by = by
        self._with_body = with_body

    def add(self, message: Message) -> None:
        """Write it, with when and why as the table has them."""
        # Not without being asked: a page is passed around, and bodies are what is most private.
        body = body_of(message) if self._with_body else {}
        said = {"at": message.at, "why": why(message)[1]}
        self._page.add({**message.as_json(), **body, **said})

    def finish(self, summary: Summary) -> None:
        """Write what holds for all, and put the page in place."""
        self._page.about = {
            "by": list(self._by),
            "where": [f"{each.name}={each.pattern}" for each in self._options.where],
            "limit": self._options.limit,
            "looked": summary.looked,
            "outcome": summary.outcome,
            "notes": summary.notes,
        }
        self._put_in_place()
