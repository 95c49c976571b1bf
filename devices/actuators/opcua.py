"""A node of an OPC UA server that holds a truth value or a number."""

from __future__ import annotations

from lineside.devices.opcua import OpcUaLink


class Node:
    """Connects from the beginning on."""

    def __init__(self, link: OpcUaLink, node: str) -> None:
        self._link, self._node = link, node
        link.start()

    def connect(self) -> None:
        """It does so by itself."""

    def set(self, on: bool) -> None:
        self._link.write(self._node, on)

    def count(self, number: int) -> None:
        self._link.write(self._node, number % 2 == 1)

    def probe(self) -> None:
        self._link.read(self._node)

    def close(self) -> None:
        self._link.close()
