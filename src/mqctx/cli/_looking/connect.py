"""Connect as the options say."""

import os
from collections.abc import Generator
from contextlib import contextmanager

import click

from mqctx.cli._looking.options import Options
from mqctx.inspection import Broker, Inspector
from mqctx.inspection._contexts import parse_keys


@contextmanager
def connected(options: Options) -> Generator[Inspector]:
    """Connect to the broker that the options name.

    Raises:
        click.UsageError: a URL, or a key in `MQCTX_SIGNING_KEYS`, is none.
        BrokerError: the broker cannot be reached.
    """
    # Not by an option: the arguments of a process are for all users of its machine to see.
    keys = os.environ.get("MQCTX_SIGNING_KEYS", "")
    try:
        broker = Broker.parse(options.broker, ca=options.ca, cert=options.cert, key=options.key)
        inspector = Inspector(broker, management=options.management, keys=parse_keys(keys))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with inspector:
        yield inspector
