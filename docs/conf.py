"""How `make docs` builds the site from these pages."""

import re
import sys
import tomllib
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import mqctx

project = "mqctx"
author = "The mqctx authors"
copyright = author
version = release = version_of("mqctx")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["images"]
# `type` in an annotation is the builtin, whatever attributes have that name.
suppress_warnings = ["ref.python"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
napoleon_custom_sections = [
    ("Publishing raises", "Raises"),
    ("Sending raises", "Raises"),
    ("Enqueueing raises", "Raises"),
]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
maximum_signature_line_length = 80
python_use_unqualified_type_names = True

# The home of the project is a placeholder until it has one.
linkcheck_ignore = ["https://example.com/"]
linkcheck_timeout = 15
linkcheck_retries = 2

html_theme = "furo"
html_title = "mqctx"
html_extra_path = ["llms.txt"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
HOME = f"{PROJECT['urls']['Homepage']}/"


def lead_out(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Let links to files of the repository that are no pages of the site lead to the repository."""
    source[0] = re.sub(
        r"\]\((?:\.\./)+((?:benchmarks|examples|src|tests)[^)]*|[A-Z_]+\.md|LICENSE)\)",
        rf"]({HOME}\1)",
        source[0],
    )


def mark_code(*event: Any) -> None:
    """Let `code` in a docstring, and the letter behind it, mean to Sphinx what it means to us."""
    lines: list[str] = event[-1]
    text = re.sub(
        r"(?<![`:])`([^`]+)`(?!`)",
        lambda code: f"``{' '.join(code[1].split())}``\\ ",
        "\n".join(lines),
    )
    lines[:] = text.split("\n")


def keep_sentence(*event: Any) -> None:
    """Let no colon in an attribute's docstring mean to napoleon that a type stands before it."""
    kind, lines = event[1], event[-1]
    if kind == "attribute":
        lines[:] = [line.replace(": ", " \u2013 ", 1) for line in lines[:1]] + lines[1:]


# Its module has this name for type checkers alone; Sphinx looks it up.
vars(sys.modules[mqctx.Scope.__module__])["Context"] = mqctx.Context


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect what Sphinx calls while it builds."""
    app.connect("source-read", lead_out)
    app.connect("autodoc-process-docstring", keep_sentence, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", mark_code)
    return {"parallel_read_safe": True}
