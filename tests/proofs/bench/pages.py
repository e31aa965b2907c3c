"""The answers of the page server, made beforehand: gzip as Go writes it, framed in Go's chunks.

`python -m tests.proofs.bench.pages FOLDER COUNT LARGE STATE` makes those of one state.

A list of a custom resource ends with its metadata. So all of a page up to there is made once, and only
the last bytes, which tell the resourceVersion and the next page, are made when it is asked for.
"""

import struct
import sys
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from tests.proofs.bench.tenants import API_VERSION, State, name, tenants

PAGE_SIZE = 500
FASTEST = 1
"""The level at which an API server compresses."""
CHUNK = 2048
"""The buffer of Go's HTTP server, and so the size of the chunks that it sends."""

_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"


class Page(msgspec.Struct, frozen=True):
    """Where the made part of a page lies in the file, and what its end has to go on from."""

    offset: int
    length: int
    checksum: int
    size: int
    """Of the JSON, in bytes."""
    last: str
    """The last tenant's name: the next page starts after it."""
    remaining: int


def make(folder: Path, count: int, *, large: bool, state: State) -> None:
    """Writes the pages of so many tenants into the folder, and where each one is."""
    folder.mkdir(parents=True)
    each = tenants(count, large=large, state=state)
    pages: list[Page] = []
    with (folder / "pages").open("wb") as file:
        for first in range(0, count, PAGE_SIZE):
            items = b",".join(islice(each, PAGE_SIZE))
            text = b'{"apiVersion":"%s","items":[%s]' % (API_VERSION.encode(), items)
            packer = zlib.compressobj(FASTEST, wbits=-zlib.MAX_WBITS)
            packed = _HEADER + packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
            framed = b"".join(chunks(packed))
            after = min(count, first + PAGE_SIZE)
            pages.append(
                Page(
                    file.tell(), len(framed), zlib.crc32(text), len(text), name(after - 1), count - after
                )
            )
            file.write(framed)
    (folder / "index").write_bytes(msgspec.json.encode(pages))


def ending(page: Page, metadata: bytes) -> bytes:
    """The rest of a page: its metadata, and the end of the answer."""
    text = b',"kind":"PiecedTenantList","metadata":%s}\n' % metadata
    packer = zlib.compressobj(FASTEST, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(text) + packer.flush()
    trailer = struct.pack("<II", zlib.crc32(text, page.checksum), page.size + len(text))
    return b"".join(chunks(packed + trailer)) + b"0\r\n\r\n"


def chunks(body: bytes) -> Iterator[bytes]:
    """The body in HTTP's chunks."""
    for start in range(0, len(body), CHUNK):
        piece = body[start : start + CHUNK]
        yield b"%x\r\n%s\r\n" % (len(piece), piece)


if __name__ == "__main__":
    _, folder, count, large, state = sys.argv
    make(Path(folder), int(count), large=large == "True", state=State(state))
