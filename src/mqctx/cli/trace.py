"""The command `mqctx trace`."""

from math import inf
from pathlib import Path

import click

from mqctx.cli._looking.numbers import LENGTH_OF_TIME
from mqctx.cli._looking.options import Options, common_options

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("trace", short_help="See what becomes of each request in the broker, live.")
@click.option("--seconds", metavar="N", type=LENGTH_OF_TIME, default=inf, help="End after so long.")
@click.option(
    "--by",
    metavar="NAME",
    default="request_id",
    show_default=True,
    help="The name of the context that tells one journey from another.",
)
@click.option(
    "--buffer",
    metavar="EVENTS",
    type=click.IntRange(min=1),
    default=20_000,
    show_default=True,
    help="How many events may wait to be joined; the oldest ones beyond are dropped, and counted.",
)
@click.option(
    "--html", metavar="FILE", type=_FILE, help="Write a page, too, which any browser opens."
)
@click.option(
    "--otlp", metavar="FILE", type=_FILE, help="Write OTLP JSON, too, which Jaeger's page opens."
)
@click.option(
    "--chrome",
    metavar="FILE",
    type=_FILE,
    help="Write a Chrome trace, too, which Perfetto and speedscope open.",
)
@click.option("--tap", metavar="EXCHANGE", help="Watch one exchange; needs no administrator.")
@click.option("--routing-key", metavar="K", help="With --tap: what to bind with, instead of #.")
@click.option("--off", is_flag=True, help="Turn off what a trace that was killed has left on.")
@common_options
def trace(
    options: Options,
    *,
    seconds: float,
    by: str,
    buffer: int,
    html: Path | None,
    otlp: Path | None,
    chrome: Path | None,
    tap: str | None,
    routing_key: str | None,
    off: bool,
) -> None:
    """Show the journey of each request: where it was published, waited, was delivered and died.

    It uses RabbitMQ's tracing of the vhost, and leaves it as it was. Ends by --seconds, Ctrl-C or
    SIGTERM; what is known is printed then. With --where, a journey is shown if one of its messages
    fits. With --limit, it ends after the journey that has the last of so many messages.
    """
    from mqctx.cli._tracing import files, run  # noqa: PLC0415 - it loads pika and urllib3
    from mqctx.inspection._journeys._feeds import Tap  # noqa: PLC0415 - so does this
    from mqctx.inspection._journeys._tracer import Settings  # noqa: PLC0415 - and this

    if off:
        run.repair(options)
        return
    if tap == "":  # nothing can be bound to it
        raise click.UsageError("--tap: the default exchange cannot be tapped; name another one")
    if routing_key is not None and tap is None:
        raise click.UsageError("--routing-key goes with --tap EXCHANGE")
    tapped = None if tap is None else Tap(tap, routing_key or "#")
    settings = Settings(by=by, buffer=buffer, seconds=seconds)
    run.trace(options, settings, tapped, files.files_of(html, otlp, chrome))
