"""Read what is in a queue and leave it there: for scripts, and below the commands.

::

    with Inspector("amqp://guest:guest@127.0.0.1/") as inspector:
        with inspector.look("orders.dead") as messages:
            for message in messages:
                print(message.context, message.deaths, message.failure)
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mqctx._lazy import names_of

if TYPE_CHECKING:
    from mqctx.inspection._broker import Broker
    from mqctx.inspection._deaths import Death
    from mqctx.inspection._errors import BrokerError
    from mqctx.inspection._groups import Group, Grouping, Groups
    from mqctx.inspection._look import Inspector, Look, RefusedError
    from mqctx.inspection._management import Management, ManagementError
    from mqctx.inspection._message import Failure, Message
    from mqctx.inspection._redrive import Redrive
    from mqctx.inspection._safety import QueueFacts, Refusal
    from mqctx.inspection._where import Where

__all__ = [
    "Broker",
    "BrokerError",
    "Death",
    "Failure",
    "Group",
    "Grouping",
    "Groups",
    "Inspector",
    "Look",
    "Management",
    "ManagementError",
    "Message",
    "QueueFacts",
    "Redrive",
    "Refusal",
    "RefusedError",
    "Where",
]

# Help texts are shown without loading pika and urllib3.
__getattr__: Callable[[str], Any] = names_of(
    __name__,
    __package__,
    {
        "Broker": "_broker",
        "BrokerError": "_errors",
        "Death": "_deaths",
        "Failure": "_message",
        "Group": "_groups",
        "Grouping": "_groups",
        "Groups": "_groups",
        "Inspector": "_look",
        "Look": "_look",
        "Management": "_management",
        "ManagementError": "_management",
        "Message": "_message",
        "QueueFacts": "_safety",
        "Redrive": "_redrive",
        "Refusal": "_safety",
        "RefusedError": "_look",
        "Where": "_where",
    },
)


def __dir__() -> list[str]:
    return __all__
