"""The files of journeys that other tools open."""

import base64
import json
import re
from collections import defaultdict
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import pytest
from google.protobuf import json_format  # type: ignore[import-untyped] # its stubs are apart
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from mqctx.inspection._journeys._chrome import chrome_file
from mqctx.inspection._journeys._otlp import otlp_file
from tests.unit.pages.made_up import Json, journeys
from tests.unit.pages.trace_events import faults_in

EVENTS = [*journeys(20), {"kind": "summary", "events": 100}]
HOSTILE = ["</script>", "half\ud800", "\x00\u202e", "", "trace"]
TIMES = ["2026-11-28T06:43:48Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]


class File(Protocol):
    def add(self, item: Json, /) -> object: ...


def written(file: AbstractContextManager[File], path: Path, events: list[Json]) -> Any:
    with file as opened:
        for event in events:
            opened.add(event)
    return json.loads(path.read_text(), parse_constant=pytest.fail)  # NaN is no JSON


def hostile(text: str, at: str = TIMES[0]) -> list[Json]:
    common: Json = {
        "journey": text, "by": None, "parent": None, "joined": text, "inferred": True,
        "at": at, "context": {text: text, "ratio": 1.5, "deep": [2**70, True]},
        "exchange": text, "routing_keys": [text], "user": text, "queue": text, "wait": -1.0,
        "duration": 1e9, "bytes": 2**80,
        "error": text, "outcome": "raised", "handler": text, "service": text,
    }  # fmt: skip
    kinds = ["publish", "delivery", "run", "dead_letter", "a kind to come"]
    return [{**common, "kind": kind, "id": f"{text}{kind}"} for kind in kinds]


class TestOtlp:
    def spans(self, path: Path, events: list[Json]) -> dict[str, list[Span]]:
        """Return the spans of each service, as OpenTelemetry's own definition reads the file."""
        written(otlp_file(path), path, events)
        data = json_format.Parse(path.read_text(), TracesData())
        found: dict[str, list[Span]] = defaultdict(list)
        for resource_spans in data.resource_spans:
            (service,) = resource_spans.resource.attributes
            assert service.key == "service.name"
            for scope_spans in resource_spans.scope_spans:
                found[service.value.string_value] += scope_spans.spans
        return found

    def test_a_file_of_otlp_has_each_event_as_a_span_below_its_parent(self, tmp_path: Path) -> None:
        found = self.spans(tmp_path / "otlp.json", EVENTS)
        spans = [span for each in found.values() for span in each]
        assert len(spans) == len(EVENTS) - 1
        # JSON has ids in hexadecimal; this parser takes them for base64, as of all bytes.
        ids = {span.span_id: span for span in spans}
        assert {len(base64.b64encode(span.trace_id)) for span in spans} == {32}
        assert {len(base64.b64encode(each)) for each in ids} == {16}
        assert len(ids) == len(spans)
        roots = [span for span in spans if not span.parent_span_id]
        assert len(roots) == 20
        for span in spans:
            if span.parent_span_id:
                assert ids[span.parent_span_id].trace_id == span.trace_id

    def test_waiting_handling_and_failures_are_told_apart(self, tmp_path: Path) -> None:
        found = self.spans(tmp_path / "otlp.json", EVENTS)
        kinds = {service: {span.kind for span in spans} for service, spans in found.items()}
        assert kinds["rabbitmq"] == {Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_INTERNAL}
        assert kinds["orders"] == {Span.SPAN_KIND_PRODUCER}
        assert kinds["billing"] == {Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_PRODUCER}
        failed = [s for s in found["billing"] if s.status.code == Status.STATUS_CODE_ERROR]
        assert {span.name for span in failed} == {"process billing.on_order"}
        assert {span.end_time_unix_nano - span.start_time_unix_nano for span in failed} == {
            30_000_000
        }
        waits = [
            (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
            for span in found["rabbitmq"]
            if span.name == "deliver orders.mail"
        ]
        told = [each["wait"] for each in EVENTS if each.get("queue") == "orders.mail"]
        assert waits == pytest.approx(told, abs=1e-6)

    def test_attributes_follow_the_conventions_and_have_the_context(self, tmp_path: Path) -> None:
        found = self.spans(tmp_path / "otlp.json", EVENTS)
        attributes = {each.key: each.value for each in found["orders"][0].attributes}
        texts = {key: value.string_value for key, value in attributes.items()}
        assert texts["messaging.system"] == "rabbitmq"
        assert texts["messaging.operation.type"] == "send"
        assert texts["messaging.destination.name"] == "orders:order.created"
        assert texts["messaging.rabbitmq.destination.routing_key"] == "order.created"
        assert texts["mqctx.request_id"] == "req-00000"
        assert attributes["messaging.message.body.size"].int_value == EVENTS[0]["bytes"]

    def test_a_journey_of_a_trace_keeps_its_id(self, tmp_path: Path) -> None:
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        path = tmp_path / "otlp.json"
        file = written(otlp_file(path), path, [{**EVENTS[0], "by": "trace_id", "journey": trace}])
        assert file["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] == trace

    def test_ids_times_and_kinds_are_written_as_jaegers_page_reads_them(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "otlp.json"
        file = written(otlp_file(path), path, EVENTS)
        for resource in file["resourceSpans"]:
            for span in resource["scopeSpans"][0]["spans"]:
                assert re.fullmatch("[0-9a-f]{32}", span["traceId"])
                assert re.fullmatch("[0-9a-f]{16}", span["spanId"])
                assert re.fullmatch("([0-9a-f]{16})?", span.get("parentSpanId", ""))
                assert re.fullmatch("[0-9]{19}", span["startTimeUnixNano"])
                assert span["startTimeUnixNano"] <= span["endTimeUnixNano"]
                assert span["kind"] in range(1, 6)

    def test_text_of_strangers_makes_a_sound_file_of_otlp(self, tmp_path: Path) -> None:
        events = [event for text in HOSTILE for at in TIMES for event in hostile(text, at)]
        found = self.spans(tmp_path / "otlp.json", events)
        assert sum(map(len, found.values())) == len(events)


class TestChrome:
    def test_each_journey_is_a_process_of_events_that_do_not_overlap(self, tmp_path: Path) -> None:
        path = tmp_path / "chrome.json"
        events = written(chrome_file(path), path, EVENTS)["traceEvents"]
        names = [each["args"]["name"] for each in events if each["ph"] == "M"]
        assert names == [f"req-{i:05}" for i in range(20)]
        spans = [each for each in events if each["ph"] == "X"]
        assert len(spans) == len(EVENTS) - 1
        free_from: dict[tuple[int, int], int] = defaultdict(int)
        for span in spans:
            thread = (span["pid"], span["tid"])
            assert span["ts"] >= free_from[thread]
            free_from[thread] = span["ts"] + span["dur"]

    def test_a_file_keeps_the_rules_of_its_format(self, tmp_path: Path) -> None:
        path = tmp_path / "chrome.json"
        assert faults_in(written(chrome_file(path), path, EVENTS)) == []

    @pytest.mark.parametrize(
        "wrong",
        [
            {"ph": "Q"}, {"ph": "E"}, {"name": None}, {"cat": 1}, {"pid": "1"}, {"tid": True},
            {"tid": None}, {"ts": "1"}, {"ts": -1}, {"ts": 2**63}, {"dur": -1}, {"dur": None},
            {"args": []}, {"ph": "M", "name": "process"}, {"ph": "M", "name": "process_name"},
            {"ph": "s", "id": 1}, {"ph": "f", "id": 1}, {"ph": "s"},
        ],
        ids=str,
    )  # fmt: skip
    def test_a_file_that_breaks_a_rule_of_its_format_would_be_noticed(self, wrong: Json) -> None:
        sound: Json = {
            "ph": "X", "name": "n", "cat": "c", "pid": 1, "tid": 1, "ts": 1, "dur": 1, "args": {}
        }  # fmt: skip
        arrow = [{**sound, "ph": "s", "id": 7}, {**sound, "ph": "f", "id": 7}]
        assert faults_in({"traceEvents": [sound, *arrow]}) == []
        assert faults_in({"traceEvents": [{**sound, **wrong}, *arrow]}) != []

    def test_waiting_and_handling_are_categories(self, tmp_path: Path) -> None:
        path = tmp_path / "chrome.json"
        events = written(chrome_file(path), path, EVENTS)["traceEvents"]
        failed = [each for each in events if each["args"].get("error.type") == "CardExpired"]
        assert {(each["cat"], each["dur"]) for each in failed} == {("handler", 30_000)}
        waits = [each["dur"] for each in events if each.get("cat") == "wait"]
        assert len(waits) == sum(each["kind"] == "delivery" for each in EVENTS)
        assert min(waits) > 0

    def test_text_of_strangers_makes_a_sound_file_for_chrome(self, tmp_path: Path) -> None:
        path = tmp_path / "chrome.json"
        events = [event for text in HOSTILE for at in TIMES for event in hostile(text, at)]
        found = written(chrome_file(path), path, events)
        assert faults_in(found) == []
        assert len(found["traceEvents"]) == len(events) + len(HOSTILE)


@pytest.mark.parametrize("file", [otlp_file, chrome_file])
def test_a_file_of_nothing_is_sound(file: Any, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    assert list(written(file(path), path, [])).pop() in {"resourceSpans", "traceEvents"}
