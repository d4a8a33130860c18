"""The page around the data: style and script in the file itself, and nothing from elsewhere."""

import base64
import hashlib
from importlib.resources import files

_ASSETS = files("mqctx.inspection._pages") / "assets"


def shell(name: str, title: str) -> tuple[str, str]:
    """Return what stands before the data of this page, and what after.

    The content security policy allows this style and this script, known by their hashes, and no
    request at all: should text of a message ever become an element, it could do nothing.
    """
    style = _read("page.css") + _read(f"{name}.css")
    script = f'"use strict";\n{_read("page.js")}{_read(f"{name}.js")}'
    policy = f"script-src {_hashed(script)}; style-src {_hashed(style)}"
    # Script and style are hashed as they will stand in the file, to the last character.
    head, _, tail = _read("page.html").partition("<!-- data -->\n")
    head = head.replace("{title}", title).replace("{policy}", policy).replace("{style}", style)
    return head, tail.replace("{script}", script)


def _read(asset: str) -> str:
    return (_ASSETS / asset).read_text(encoding="utf-8")


def _hashed(text: str) -> str:
    """Return the source expression that allows exactly this text (CSP 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
