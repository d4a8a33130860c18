"""The picture of the results."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks import ways
from benchmarks.groups import instructions, publish, throughput
from benchmarks.results import Results
from benchmarks.rounds import added, ratio

Axes: TypeAlias = Any
_COLOURS = {
    ways.FIVE: "#9aa5b1",
    ways.MQCTX: "#1769aa",
    ways.OTEL_BY_HAND: "#f0b37e",
    ways.OTEL: "#d9742b",
}


def draw(results: Results, path: Path) -> None:
    """Draw what was measured of instructions, throughput and the number of values."""
    panels = [panel for group, panel in _PANELS.items() if results.parts(group)]
    if not panels:
        return
    # Text stays text, and the same results make the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mqctx", "font.size": 9}):
        figure = Figure(figsize=(4.6 * len(panels), 3.6), layout="constrained")
        for panel, axes in zip(
            panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True
        ):
            panel(results, axes)
            axes.spines[["top", "right"]].set_visible(False)
        shown = {
            label: handle
            for axes in figure.axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            shown.values(), shown, loc="outside lower center", ncols=len(shown), frameon=False
        )
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def _instructions(results: Results, axes: Axes) -> None:
    clients = [each for each in ways.WAYS if each in results.parts("instructions")]
    _bars(
        axes,
        clients,
        lambda client, way: instructions.total_added(results, client, way) / 1000,
    )
    axes.set_title("thousand instructions added\nto a publish and a consume (less is better)")


def _throughput(results: Results, axes: Axes) -> None:
    clients = [each for each in ways.WAYS if each in results.parts("throughput")]

    def share(client: str, way: str) -> float:
        times = results.of("throughput", client)
        doing = throughput.CONSUMING
        if doing + way not in times:
            return 0
        return ratio(times, doing + way, doing + ways.RAW).median

    _bars(axes, clients, share)
    axes.axhline(1, color="#444444", linewidth=0.8)
    axes.set_title("messages consumed per second,\nshare of the raw client's (more is better)")


def _bars(axes: Axes, clients: list[str], value: Callable[[str, str], float]) -> None:
    width = 0.8 / len(_COLOURS)
    for index, (way, colour) in enumerate(_COLOURS.items()):
        places = [(at, client) for at, client in enumerate(clients) if way in ways.WAYS[client]]
        xs = [at + (index - 1.5) * width for at, _ in places]
        heights = [value(client, way) for _, client in places]
        axes.bar(xs, heights, width * 0.92, color=colour, label=way)
    axes.set_xticks(range(len(clients)), clients)


def _values(results: Results, axes: Axes) -> None:
    client = results.parts("publish")[0]
    times = results.of("publish", client)
    base = publish.name(ways.RAW)
    for way in (ways.MQCTX, ways.usual_otel(client)):
        ys = [added(times, publish.name(way, n), base).median * 1e6 for n in publish.COUNTS]
        axes.plot(publish.COUNTS, ys, color=_COLOURS[way], marker="o", label=way)
    axes.set_yscale("log")
    axes.set_xlabel("values in the context")
    axes.set_title(
        f"microseconds added to a publish,\n{client}, context unchanged (less is better)"
    )


_PANELS: Mapping[str, Callable[[Results, Axes], None]] = {
    "instructions": _instructions,
    "throughput": _throughput,
    "publish": _values,
}
"""What is drawn of which group."""
