"""AnyIO's threads, in which Starlette and FastAPI call sync endpoints, take the context along."""

import anyio
import anyio.lowlevel
import pytest
from anyio import from_thread, to_thread

from mqctx import Context, bind, current, scope


async def serve_request(number: int) -> list[Context]:
    """Return what a sync endpoint sees, what it sees on the way back, and what is left."""

    def endpoint() -> tuple[Context, Context]:
        bind(user=number)
        return current(), from_thread.run_sync(current)

    with scope(request_id=number):
        inside, back = await to_thread.run_sync(endpoint)
        return [inside, back, current()]


@pytest.mark.asyncio
async def test_a_worker_thread_shares_the_run_and_goes_back_in_it() -> None:
    assert await serve_request(1) == [{"request_id": 1, "user": 1}] * 3


@pytest.mark.asyncio
async def test_worker_threads_that_requests_share_do_not_mix_them() -> None:
    seen: list[list[Context]] = []

    async def note(number: int) -> None:
        seen.append(await serve_request(number))

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(note, number)
    expected = [[{"request_id": number, "user": number}] * 3 for number in range(60)]
    assert sorted(seen, key=lambda contexts: int(contexts[0]["user"])) == expected


@pytest.mark.asyncio
async def test_tasks_of_a_group_are_in_the_context_that_they_were_started_in() -> None:
    seen: list[Context] = []

    async def note() -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(current())

    async with anyio.create_task_group() as tasks:
        with scope(request_id="r-1"):
            tasks.start_soon(note)
    assert seen == [{"request_id": "r-1"}]
