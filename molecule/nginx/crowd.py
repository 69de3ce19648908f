"""Many visitors at once, polite and not: `python crowd.py VERB '{"port": 8443, "ca": "ca.pem", ...}'`.

`load` asks `path` `times` times over `connections` that stay open, with `headers` and a `pause` in seconds.
Like a browser it asks once more where a connection was closed before the first byte of an answer.
`slowloris` opens `connections` and sends a header a little at a time, for `seconds`; `dawdle` a body.
`flood` sends as many requests as go out. What became of them is printed as JSON. All go to the address `to`,
if there is none to this machine.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import time
from collections import Counter
from typing import Any

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(wanted: dict[str, Any]) -> Streams:
    """Open a connection."""
    context = ssl.create_default_context(cafile=wanted["ca"])
    return await asyncio.open_connection(
        wanted.get("to", "127.0.0.1"), wanted["port"], ssl=context, server_hostname="machine"
    )


def request(wanted: dict[str, Any]) -> bytes:
    """Write a request."""
    headers = {"Host": "machine", **wanted.get("headers", {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {wanted.get('path', '/')} HTTP/1.1\r\n{lines}\r\n".encode()


async def load(wanted: dict[str, Any]) -> dict[str, Any]:
    """Ask, answer by answer."""
    left = iter(range(wanted["times"]))
    statuses: Counter[int] = Counter()
    failures: Counter[str] = Counter()
    slowest, again = 0.0, 0

    async def visitor() -> None:
        nonlocal slowest, again
        streams: Streams | None = None
        for _ in left:
            began = time.monotonic()
            for attempt in (1, 2, 3):
                fresh = streams is None
                try:
                    streams = streams or await connect(wanted)
                    status = await one(streams, wanted)
                except (OSError, asyncio.IncompleteReadError) as error:
                    streams = None
                    if fresh or attempt == 3:
                        failures[repr(error)[:80]] += 1
                        break
                    again += 1
                    continue
                if status < 0:  # the last answer on this connection
                    streams = None
                statuses[abs(status)] += 1
                break
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.sleep(wanted.get("pause", 0))

    began = time.monotonic()
    await asyncio.gather(*(visitor() for _ in range(wanted["connections"])))
    took = time.monotonic() - began
    return {
        "statuses": statuses,
        "failures": failures,
        "asked_again": again,
        "slowest": slowest,
        "per_second": wanted["times"] / took,
    }


async def one(streams: Streams, wanted: dict[str, Any]) -> int:
    """Ask once and return the status, negative where the connection ends with it."""
    reader, writer = streams
    writer.write(request(wanted))
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if "transfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
    else:
        await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0))
    status = int(head.split(" ", 2)[1])
    if "connection: close" in head:
        writer.close()
        return -status
    return status


async def trickle(wanted: dict[str, Any], first: bytes, piece: bytes) -> dict[str, Any]:
    """Send a request a little at a time, over many connections; tell what they were answered, and when."""
    end = time.monotonic() + wanted["seconds"]
    answers: Counter[str] = Counter()

    async def visitor() -> None:
        try:
            reader, writer = await connect(wanted)
            writer.write(first)
            while time.monotonic() < end:
                writer.write(piece)
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    said = await asyncio.wait_for(reader.read(64), 1)
                    answers[said[9:12].decode() or "closed"] += 1
                    return
            answers["held"] += 1
        except OSError:
            answers["closed"] += 1

    await asyncio.gather(*(visitor() for _ in range(wanted["connections"])))
    return answers


async def slowloris(wanted: dict[str, Any]) -> dict[str, Any]:
    """Never end the header."""
    return await trickle(wanted, b"GET / HTTP/1.1\r\nHost: machine\r\n", b"X-a: b\r\n")


async def dawdle(wanted: dict[str, Any]) -> dict[str, Any]:
    """Never end the body."""
    head = f"POST {wanted['path']} HTTP/1.1\r\nHost: machine\r\nContent-Length: 900000\r\n\r\n"
    return await trickle(wanted, head.encode(), b"a")


async def flood(wanted: dict[str, Any]) -> dict[str, Any]:
    """Ask without listening."""
    end = time.monotonic() + wanted["seconds"]
    answers: Counter[str] = Counter()

    async def visitor() -> None:
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                reader, writer = await connect(wanted)
                while time.monotonic() < end:
                    writer.write(request(wanted) * 50)
                    await writer.drain()
                    said = await asyncio.wait_for(reader.read(1_000_000), 5)
                    if not said:
                        break
                    for status in (b"200", b"401", b"429", b"503"):
                        answers[status.decode()] += said.count(b"HTTP/1.1 " + status)

    await asyncio.gather(*(visitor() for _ in range(wanted["connections"])), return_exceptions=True)
    return answers


if __name__ == "__main__":
    verbs = {"load": load, "slowloris": slowloris, "dawdle": dawdle, "flood": flood}
    print(json.dumps(asyncio.run(verbs[sys.argv[1]](json.loads(sys.argv[2])))))
