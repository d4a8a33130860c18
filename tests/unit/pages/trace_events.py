"""The rules of Chrome's trace event format, as its document "Trace Event Format" has them."""

from collections import Counter
from typing import Any, Final

Json = dict[str, Any]

_NAMES_OF_METADATA: Final = {
    "process_name": "name", "process_labels": "labels", "process_sort_index": "sort_index",
    "thread_name": "name", "thread_sort_index": "sort_index",
}  # fmt: skip
_FLOW: Final = ("s", "t", "f")


def faults_in(file: Json) -> list[str]:
    """Return what is wrong with a file in the form of an object; nothing if it keeps the rules."""
    faults = [] if file.get("displayTimeUnit", "ms") in ("ms", "ns") else ["displayTimeUnit"]
    events: list[Json] = file["traceEvents"]
    for event in events:
        faults += [f"{fault} of {event}" for fault in _faults_of(event)]
    return [*faults, *_faults_of_arrows(events)]


def _faults_of(event: Json) -> list[str]:
    sound = {
        "name": isinstance(event.get("name"), str),
        "cat": isinstance(event.get("cat", ""), str),
        "args": isinstance(event.get("args", {}), dict),
        "pid": _is_count(event.get("pid")),
    }
    match event.get("ph"):
        case "M":
            told = _NAMES_OF_METADATA.get(event["name"])
            sound["metadata"] = told is not None and told in event.get("args", {})
        case "X":
            sound |= {key: _is_count(event.get(key)) for key in ("tid", "ts", "dur")}
        case "s" | "t" | "f":
            sound |= {key: _is_count(event.get(key)) for key in ("tid", "ts")}
            sound["id"] = "id" in event
        case _:  # the others are not written; B and E would have to be in pairs
            sound["ph"] = False
    return [key for key, is_sound in sound.items() if not is_sound]


def _faults_of_arrows(events: list[Json]) -> list[str]:
    """Return the arrows that have no beginning, or no end, or several."""
    ends = Counter(
        (event.get("id"), event.get("cat"), event.get("name"), event["ph"])
        for event in events
        if event["ph"] in _FLOW
    )
    arrows = {key[:3] for key in ends}
    return [f"arrow {arrow}" for arrow in arrows if any(ends[*arrow, ph] != 1 for ph in "sf")]


def _is_count(value: object) -> bool:
    """Tell whether it is a whole number that is not negative, and has room in 64 bits."""
    return type(value) is int and 0 <= value < 2**63
