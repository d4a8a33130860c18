"""Self-contained HTML pages of dead letters and of journeys, which open offline in a browser."""

from mqctx.inspection._pages._page import Page, dead_letters_page, journeys_page

__all__ = ["Page", "dead_letters_page", "journeys_page"]
