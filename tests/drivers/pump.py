"""The bytes of one direction of a connection, for what stands between a client and the broker."""

import asyncio


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on all that comes, until either side leaves; then close."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one of them is gone
    finally:
        writer.close()
