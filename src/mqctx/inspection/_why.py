"""Why a message died, in one line that is the same for all that died in the same way."""

import re
from functools import lru_cache
from typing import Final

from mqctx.inspection._message import Message

__all__ = ["why"]

# Words with digits, and what stands in quotes: ids, dates, amounts.
_PARTICULAR = re.compile(
    r"""'[^']{0,200}'|"[^"]{0,200}"|[^\s,;:()'"]{0,100}\d[^\s,;:()'"]{0,100}"""
)
_DOTS = re.compile(r"(?:\.\.\.\s?){2,}")
_MOST_READ: Final = 300
_LONGEST: Final = 120


def why(message: Message) -> tuple[str | None, str]:
    """Return the type of the failure, None if no handler recorded one, and the line.

    The line leaves out particulars: `card of order ... expired`.
    """
    failure = message.failure
    if failure is None:
        return None, _by_the_broker(message)
    kind = str(failure.get("type") or "failed")
    text = str(failure.get("message") or "").strip().partition("\n")[0][:_MOST_READ]
    general = _general(text)
    return kind, f"{kind}: {general}"[:_LONGEST] if general else kind


@lru_cache(maxsize=1_024)
def _general(text: str) -> str:
    return _DOTS.sub("... ", _PARTICULAR.sub("...", text)).strip()


def _by_the_broker(message: Message) -> str:
    if not message.deaths:
        return "not known"
    reason = message.deaths[0].reason
    return "rejected, no reason given" if reason == "rejected" else reason
