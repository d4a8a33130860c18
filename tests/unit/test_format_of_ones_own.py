"""A format that somebody else wrote, with what `mqctx.formats` offers and nothing else."""

import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, unescape

from mqctx import Context, Format, JsonFormat, Propagator, scope
from mqctx.formats import JSONValue, Rejection, Report, UntypedText, check_header, text_in


class XmlFormat(Format):
    """One header of elements, all text: `<user>ada</user>`."""

    def __init__(self, header: str = "context-xml") -> None:
        check_header(header)
        self.header = header

    @property
    def headers(self) -> tuple[str]:
        return (self.header,)

    def encode(self, values: Mapping[str, JSONValue]) -> Mapping[str, str]:
        text = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in values.items())
        return {self.header: text.encode("ascii", "xmlcharrefreplace").decode()} if text else {}

    def decode(
        self, headers: Mapping[str, Any], max_bytes: int, report: Report
    ) -> Mapping[str, JSONValue]:
        text = text_in(headers, self.header, max_bytes, report)
        if text is not None and not text.startswith("<"):
            report(Rejection("extract", self.header, None, "malformed", "no element"))
        found = re.findall(r"<([^<>/]++)>([^<]*+)</\1>", text or "")
        return {name: UntypedText(unescape(value)) for name, value in found}

    def strip(self, headers: dict[str, Any]) -> None:
        headers.pop(self.header, None)


def test_is_written_read_replaced_and_reported_like_our_own() -> None:
    rejected: list[Rejection] = []
    propagator = Propagator(formats=[XmlFormat(), JsonFormat()], on_rejected=rejected.append)
    with scope(user="a<b"):
        headers = propagator.inject({"context-xml": "<user>eve</user>"})
    assert headers == {"context-xml": "<user>a&lt;b</user>", "mqctx": '{"user":"a<b"}'}
    assert propagator.extract(headers) == {"user": "a<b"}
    assert propagator.extract({"context-xml": "x"}) == {}
    assert [each.reason for each in rejected] == ["malformed"]


def test_alone_it_needs_nothing_else() -> None:
    propagator = Propagator(formats=[XmlFormat()])
    headers = Context(user="ada").run(propagator.inject)
    received = propagator.extract(headers)
    assert received == {"user": "ada"}
    assert received.origin("user") == "unsigned"


class Shouting(JsonFormat):
    """Reads in a way of its own."""

    def decode(
        self, headers: Mapping[str, Any], max_bytes: int, report: Report
    ) -> Mapping[str, JSONValue]:
        decoded = super().decode(headers, max_bytes, report)
        return {name: f"{value}{headers.get('x', '')}!" for name, value in decoded.items()}


def test_one_that_inherits_is_asked_for_every_message() -> None:
    propagator = Propagator(formats=[Shouting()])
    text = '{"user":"ada"}'
    assert propagator.extract({"mqctx": text}) == {"user": "ada!"}
    assert propagator.extract({"mqctx": text, "x": "?"}) == {"user": "ada?!"}
