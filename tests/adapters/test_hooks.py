"""Hooks beside the mocks of an application's tests."""

from typing import Any
from unittest import mock

from pika.channel import Channel

from mqctx import scope
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import pika as pika_adapter
from tests.adapters.clients import RecordingChannel

CARRIED = {"mqctx": '{"user":"ada"}'}


def test_publish_of_aio_pika_is_mocked_as_an_async_def() -> None:
    with mock.patch.object(aio_pika_adapter, "publish") as patched:
        assert isinstance(patched, mock.AsyncMock)


def test_put_back_as_the_original_it_is_hooked_anew_by_the_next_instrument() -> None:
    """As when a patch that began before `instrument` ends after it."""
    with mock.patch.object(Channel, "basic_publish"):
        pika_adapter.instrument()
    assert published() is None
    pika_adapter.instrument()
    assert published() == CARRIED
    pika_adapter.uninstrument()
    assert published() is None


def test_put_back_after_uninstrument_it_lets_each_call_pass_until_the_next_uninstrument() -> None:
    """As when a patch that began after `instrument` ends after `uninstrument`."""
    original = Channel.basic_publish
    pika_adapter.instrument()
    with mock.patch.object(Channel, "basic_publish"):
        pika_adapter.uninstrument()
    assert published() is None
    pika_adapter.uninstrument()
    assert Channel.basic_publish is original


def published() -> Any:
    channel = RecordingChannel()
    with scope(user="ada"):
        channel.basic_publish("", "orders", b"42")
    return channel.published[-1][1].headers
