"""Where a new bundle comes from: a folder, or an address on the local network."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote, urlsplit

from lineside.edge.errors import UpdateError

CHUNK_BYTES = 1024 * 1024
TIMEOUT_S = 30.0
"""Of silence, not of the whole transfer."""


class Source(Protocol):
    def chunks(self, name: str, offset: int) -> Iterator[bytes]:
        """A file of the bundle from `offset` on; from its beginning, after an empty chunk, where it cannot be had from
        there.

        Raises:
            UpdateError: it is not there, or the transfer broke off.
        """
        ...


class FolderSource:
    """A folder of this machine, or one that is mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def chunks(self, name: str, offset: int) -> Iterator[bytes]:
        path = self.folder / name
        try:
            with path.open("rb") as file:
                file.seek(offset)
                yield from _chunks(file)
        except OSError as error:
            raise UpdateError("not_found", f"{path} cannot be read ({error.strerror})") from error


class WebSource:
    """`http://` or `https://`, of a folder whose files can be fetched by their names.

    No proxy is asked, and no redirect followed: what answers is on the local network, or it is refused.

    Raises UpdateError where it is no such address.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise UpdateError("malformed", f"{url!r} is not an address: {error}") from None
        if parts.username is not None or parts.query or parts.fragment or not self._host:
            raise UpdateError("malformed", "an address is http://HOST/FOLDER, without user, password, ? or #")
        self._secure, self._path = parts.scheme == "https", parts.path.rstrip("/")

    def chunks(self, name: str, offset: int) -> Iterator[bytes]:
        path = f"{self._path}/{quote(name)}"
        try:
            with self._connected() as connection:
                connection.request("GET", path, headers={"Range": f"bytes={offset}-"} if offset else {})
                response = connection.getresponse()
                if response.status not in ((200, 206) if offset else (200,)):
                    raise UpdateError("not_found", f"{self._host}: {path} was answered with {response.status}")
                if offset and response.status == 200:
                    yield b""
                yield from _chunks(response)
        except (OSError, http.client.HTTPException) as error:
            raise UpdateError("unreachable", f"{self._host}: {path} was not fetched ({error!r})") from error

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        connection: http.client.HTTPConnection
        if self._secure:
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.connect()
            _check_local(self._host, connection.sock)
            yield connection
        finally:
            connection.close()


def open_source(text: str) -> Source:
    """Raises UpdateError where it is an address that cannot be one of a bundle."""
    return WebSource(text) if is_address(text) else FolderSource(Path(text))


def is_address(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def _check_local(host: str, connected: socket.socket) -> None:
    """By the address that answers, whatever its name resolves to the next time."""
    address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if (mapped or address).is_global:
        raise UpdateError("not_local", f"{host} ({address}) is not on the local network: copy the bundle to this one")


def _chunks(file: BinaryIO | http.client.HTTPResponse) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
