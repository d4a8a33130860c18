"""The page, the picture and the data that come of a run."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks import own_work, ways
from benchmarks.rows import ROWS, Row, Target, peers

_HEAD = """\
# Benchmarks

<!-- `make bench` writes this page. -->

This page compares the added cost of carrying five values: by hand, with mqctx, with
OpenTelemetry (its instrumentation, without an SDK; for kombu, which it does not instrument, inject
and extract alone), with Sentry (without tracing, sending nothing) and with other libraries for the
same job. Everything in a row ran in turn on one machine, so compare within a row. See [how it is
measured](../benchmarks/README.md) and [every value](benchmarks.json).

![What mqctx adds, beside five headers by hand and OpenTelemetry](benchmarks.svg)
"""
_QUEUE = """
## Through RabbitMQ

Instructions are those that a publish and a consume add in the client's process, beyond the raw
client's. Throughput is the remaining share of the raw client's messages per second of its
processor. One constant header by hand is the least that carries anything: mqctx is to leave 0.96 of
its throughput. Of both, the last column has the share; a median has an error (at 95 %).
"""
_OF_ONE = 0.96
_CLOSE = "within the error"
_OWN_WORK = """
## Own work

Added microseconds (thousand instructions where it says so), medians of rounds in which the ways
took turns, without network, broker or server. "Of all kinds": one of the five values is declared,
one linked to a ContextVar, one bound. A target says how much mqctx may add at most. This is Python
running warm in a loop; in a program that does other things between two calls, everything takes
longer.
"""
# Not measured with the rest: a million takes minutes. benchmarks/README.md says how.
_LOOKS = """
## Looks at many dead letters

`mqctx inspect` makes a table of groups of a classic queue, whose messages have two values. Pace and
memory do not depend on how long it is. See [how it scales](dead-letters.md#how-it-scales).

| messages | seconds | memory of mqctx, at most |
| --- | --- | --- |
| 1,000,000 | 125 | 64 MiB |
"""
_COLOURS = {ways.FIVE: "#9aa5b1", ways.MQCTX: "#1769aa", ways.OTEL: "#d9742b"}
_SHOWN = (ways.ONE, ways.FIVE, ways.MQCTX, ways.OTEL)


def write(data: Mapping[str, Any], folder: Path) -> None:
    """Write `benchmarks.json`, `.md` and `.svg` to a folder, and print the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(_compact(data))
    page = "\n".join([_HEAD, *_through_broker(data), *_own_work(data), _LOOKS, *_machine(data)])
    (folder / "benchmarks.md").write_text(f"{page}\n")
    print(page)
    if data["throughput"] and data["instructions"]:
        _draw(data, folder / "benchmarks.svg")


def _compact(data: Mapping[str, Any]) -> str:
    """Return JSON with a line for each series of values."""
    text = json.dumps(data, indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def instructions_added(counts: Mapping[str, Sequence[int]], way: str) -> int:
    """Return what a way adds to a publish and a consume together."""
    return sum(counts[way]) - sum(counts[ways.RAW])


def share(rates: Mapping[str, Sequence[float]], way: str, of: str = ways.RAW) -> float:
    """Return the share of another way's throughput that a way leaves, in the same pass."""
    return median(_shares(rates, way, of))


def _shares(rates: Mapping[str, Sequence[float]], way: str, of: str) -> list[float]:
    return [mine / other for mine, other in zip(rates[way], rates[of], strict=True)]


def _through_broker(data: Mapping[str, Any]) -> Iterator[str]:
    yield _QUEUE
    yield from _header("client", "", *_SHOWN, "mqctx, of one header's")
    for client, counts in data["instructions"].items():
        cells = [f"{instructions_added(counts, way):,}" for way in _SHOWN]
        left = [one / mine for one, mine in zip(counts[ways.ONE], counts[ways.MQCTX], strict=True)]
        yield _line(client, "instructions", *cells, "publish {:.3f}, consume {:.3f}".format(*left))
        each = f"{instructions_added(counts, ways.MQCTX_EACH):,}"
        yield _line(client, "instructions, a new context each", "", "", each, "", "")
    for client, by_direction in data["throughput"].items():
        for doing, rates in by_direction.items():
            cells = [f"{share(rates, way):.2f}" for way in _SHOWN]
            yield _line(client, f"throughput, {doing}", *cells, _of_one(rates))


def _of_one(rates: Mapping[str, Sequence[float]]) -> str:
    """Say which share of one header's throughput mqctx leaves, and whether that is enough."""
    quartiles = quantiles(_shares(rates, ways.MQCTX, ways.ONE), n=4)
    left, error = quartiles[1], own_work.error(quartiles, len(rates[ways.MQCTX]))
    missed = "missed" if left + error < _OF_ONE else _CLOSE
    return f"{left:.3f} ± {error:.3f}: {'met' if left >= _OF_ONE else missed}"


def _own_work(data: Mapping[str, Any]) -> Iterator[str]:
    yield _OWN_WORK
    yield from _header(
        "", "by hand", "cheapest peer", "mqctx", "of all kinds", "/ by hand", "/ peer", "target"
    )
    for row in ROWS:
        if times := data["own work"].get(row.name):
            yield _line(row.name, *_cells(row, times))


def _cells(row: Row, times: own_work.Times) -> Iterator[str]:
    cost = {way: own_work.added(times, way)[1] for way in row.ways}
    ours = cost[ways.MQCTX]
    hand = cost.get(ways.BY_HAND, cost.get(ways.FIVE))
    peer = min(peers(cost), key=lambda way: cost[way], default=None)
    yield f"{hand:.2f}" if hand is not None else ""
    yield f"{cost[peer]:.2f} {peer}" if peer else ""
    yield f"{ours:.2f}"
    yield f"{cost[ways.MIXED]:.2f}" if ways.MIXED in cost else ""
    yield f"{ours / hand:.2f}" if hand else ""
    yield f"{ours / cost[peer]:.2f}" if peer else ""
    yield _verdict(row.target, cost, times) if row.target else ""


def _verdict(target: Target, cost: Mapping[str, float], times: own_work.Times) -> str:
    """Say what mqctx may add, and whether it holds, values of all kinds included."""
    over = [way for way in (ways.MQCTX, ways.MIXED) if cost.get(way, 0) > target.limit(cost)]
    error = {way: own_work.error(own_work.added(times, way), len(times[way])) for way in cost}
    most = target.limit({way: cost[way] + error[way] for way in cost})
    missed = [way for way in over if cost[way] - error[way] > most]
    close = _CLOSE if over else "met"
    return f"{target}: {f'missed by {missed[0]}' if missed else close}"


def _machine(data: Mapping[str, Any]) -> Iterator[str]:
    yield "\nMeasured with " + ", ".join(f"{k} {v}" for k, v in data["measured with"].items()) + "."


def _header(*cells: str) -> Iterator[str]:
    yield _line(*cells)
    yield _line(*("---" for _ in cells))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _draw(data: Mapping[str, Any], path: Path) -> None:
    """Draw instructions and throughput, as text and lines that any page can show."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mqctx", "font.size": 9}):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained", facecolor="white")
        left, right = figure.subplots(1, 2)
        for number, (way, colour) in enumerate(_COLOURS.items()):
            at = [index + (number - 1) * 0.27 for index in range(len(ways.CLIENTS))]
            thousands = [
                instructions_added(data["instructions"][each], way) / 1000 for each in ways.CLIENTS
            ]
            shares = [share(data["throughput"][each]["consume"], way) for each in ways.CLIENTS]
            for axes, heights, form in ((left, thousands, "%.0f"), (right, shares, "%.2f")):
                bars = axes.bar(at, heights, 0.25, color=colour, label=way)
                axes.bar_label(bars, fmt=form, fontsize=7)
        right.axhline(1, color="#444444", linewidth=0.8)
        left.set_title("thousand instructions added to\na publish and a consume: less is better")
        right.set_title("share of the raw client's messages\nconsumed per second: more is better")
        for axes in (left, right):
            axes.set_xticks(range(len(ways.CLIENTS)), ways.CLIENTS)
            axes.spines[["top", "right"]].set_visible(False)
        handles = left.get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
