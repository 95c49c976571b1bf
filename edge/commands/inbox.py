"""Commands: taken over durably before they are acknowledged, answered once, answered again to a duplicate."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial

from lineside.edge.calls.calls import Calls, Rules
from lineside.edge.commands.body import transaction
from lineside.edge.commands.conversation import Conversation
from lineside.edge.commands.eyes import Eyes
from lineside.edge.commands.in_order import InOrder
from lineside.edge.commands.phrases.phrasing import Phrases
from lineside.edge.config import Config
from lineside.edge.counters import Counters
from lineside.edge.errors import RequestError, StoreError
from lineside.edge.models import NoModel
from lineside.edge.steady import unix_time
from lineside.edge.tool_config import DAY_S
from lineside.edge.wire.identity import Delivery, request_id, without_mark
from lineside.edge.wire.messages import JSON_TYPE, Reply, WireError
from lineside.edge.wire.outbox import Outbox
from lineside.edge.wire.store import GROUP, Outgoing, Store, StoredCommand
from lineside.edge.wire.topics import Topics
from lineside.edge.wire.traffic import Message
from lineside.runtime.engine.engine import Engine
from lineside.runtime.errors import EngineError

log = logging.getLogger("lineside.commands")
MAX_PAYLOAD_BYTES = 64 * 1024
MAX_AT_ONCE = 64
"""Commands that may wait for a person or a tool side by side; further ones queue up."""
Handler = Callable[[StoredCommand, Callable[[], None]], Reply]


class Commands:
    """Takes commands off the network thread and answers them on its own.

    They begin in the order in which they came. One that waits, for a person or for a tool, lets the next begin.
    """

    def __init__(
        self,
        config: Config,
        topics: Topics,
        engine: Engine | NoModel,
        store: Store,
        outbox: Outbox,
        calls: Calls,
        counters: Counters,
        phrases: Phrases | None = None,
        eyes: Eyes | None = None,
    ) -> None:
        self._eyes = eyes
        self._config, self._topics = config, topics
        self._store, self._outbox, self._counters = store, outbox, counters
        self._calls = calls
        self._closed = threading.Event()
        self._conversation: Conversation | None = None
        self._conversation = first = self.converse(config, engine, phrases, calls.rules)
        self.handlers: dict[str, Handler] = {"ask": first.answer}
        self._unstored: dict[str, Outgoing] = {}
        self._shared: dict[str, Callable[[], None]] = {}
        self._order = InOrder()
        self._under_way: dict[str, Future[None]] = {}
        self._since: dict[str, float] = {}
        self._pool = ThreadPoolExecutor(MAX_AT_ONCE, "command")
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    def converse(self, config: Config, engine: Engine | NoModel, phrases: Phrases | None, rules: Rules) -> Conversation:
        """What answers `ask` under these; it goes on with the conversations of before. Raises ConfigError."""
        before, same = self._conversation, self._config.commands.conversation_s == config.commands.conversation_s
        memory = before.memory if before is not None and same else None
        return Conversation(
            config,
            engine,
            self._calls,
            self._store.mark_started,
            self._closed.is_set,
            phrases,
            rules,
            memory,
            self._eyes,
        )

    def exchange(self, config: Config, conversation: Conversation) -> None:
        """Commands that begin from now on are answered by it; those under way end as they began."""
        self._config, self._conversation = config, conversation
        self.handlers["ask"] = conversation.answer

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End every wait; what had not begun is answered after the next start."""
        self._closed.set()
        self._calls.close()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(list(self._under_way.values()), timeout=5)

    def stopping(self) -> bool:
        """Whether what is under way should end without a reply: it is begun again after the next start."""
        return self._closed.is_set()

    def waiting(self) -> tuple[int, float | None]:
        """How many have no reply yet, and for how many seconds the oldest has not."""
        since = list(self._since.values())
        return len(since), time.monotonic() - min(since) if since else None

    def accept(self, name: str, message: Message, *, shared: bool = False) -> None:
        """On the network thread: refuse what is stale, take over the rest, then acknowledge.

        One that came to the group (`shared`) is acknowledged when it has been answered: the member takes no more of
        them than it is busy with, and one that dies gives them back.
        """
        if message.retain:
            self._counters.add("commands_ignored_retained")
            message.acknowledge()
            return
        self._counters.add("commands_received")
        now = unix_time()
        topic = message.response_topic or self._topics.response(name)
        mark = message.correlation or transaction(message.payload).encode()
        unmarked = None if mark else message.delivery
        if not mark and unmarked is None:
            mark = uuid.uuid4().bytes  # QoS 0: nobody delivers it again, so each is a request of its own
        command = StoredCommand(
            name=f"{GROUP}{name}" if shared else name,
            payload=message.payload[: self._largest(name, message.payload) + 1],
            response_topic=topic if self._may_publish(topic) else self._topics.response(name),
            correlation=message.correlation,
            expires=now + min(message.expiry_s or self._config.commands.expiry_s, DAY_S),
            digest=request_id(
                *(("group", name, message.response_topic) if shared else (name, topic)), mark, message.payload
            ),
        )
        try:
            if not self._may_publish(topic):
                raise RequestError("response_topic_refused", f"{topic!r} is outside the allowed response topics")
            if self._store.take_over(command, unmarked):
                if shared:
                    self._shared[command.digest] = message.acknowledge
                    self._wake.set()
                    return
            else:
                self._counters.add("commands_duplicate")
                self._outbox.wake()
        except RequestError as error:
            self._refuse(command, unmarked, error.code, str(error))
            self._counters.add("commands_failed", reason=error.code)
        except StoreError as error:
            log.error("%s", error)
            self._counters.add("store_errors")
            self._refuse(command, unmarked, "storage", str(error))
        message.acknowledge()
        self._wake.set()

    def _largest(self, asks: str, payload: bytes) -> int:
        """Bytes of a payload: a question in JSON may bring a picture."""
        with_picture = asks == "ask" and without_mark(payload[:8]).lstrip()[:1] == b"{"
        return max(self._config.store.max_payload_bytes, MAX_PAYLOAD_BYTES) if with_picture else MAX_PAYLOAD_BYTES

    def _refuse(self, command: StoredCommand, unmarked: Delivery | None, code: str, message: str) -> None:
        """A command that is not taken over: the error's id is the same for each delivery of it."""
        delivery = (unmarked.session, str(unmarked.packet_id)) if unmarked is not None else ()
        command = replace(command, digest=request_id(command.digest, *delivery))
        self._outbox.put(self._encode(command, _failed(command.asks, "", code, message)))

    def _may_publish(self, topic: str) -> bool:
        """A requester must not steer where the daemon publishes."""
        if any(mark in topic for mark in "#+\x00") or topic.startswith("$"):
            return False
        allowed = (f"{self._topics.base}/rsp/", *self._config.mqtt.response_prefixes)
        return any(topic.startswith(prefix) for prefix in allowed)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                busy = set(self._under_way)  # before the store is asked: one that ends meanwhile is not begun again
                waiting = self._store.waiting_commands(len(busy) + MAX_AT_ONCE)
            except StoreError as error:
                log.error("%s", error)
                self._closed.wait(1.0)
                continue
            new = [command for command in waiting if command.digest not in busy]
            for command in new:
                ticket = self._order.ticket()
                self._since[command.digest] = time.monotonic()
                future = self._pool.submit(self._work, command, ticket)
                self._under_way[command.digest] = future
                future.add_done_callback(partial(self._forget, command.digest))
            if not new:
                self._wake.wait(1.0)
                self._wake.clear()

    def _work(self, command: StoredCommand, ticket: int) -> None:
        try:
            self._order.enter(ticket)
            if not self._closed.is_set():
                self._answer(command, lambda: self._order.leave(ticket))
        finally:
            self._order.leave(ticket)

    def _forget(self, digest: str, _done: Future[None]) -> None:
        self._under_way.pop(digest, None)
        self._since.pop(digest, None)
        self._wake.set()

    def _answer(self, command: StoredCommand, waiting: Callable[[], None]) -> None:
        """The daemon's boundary for a command: whatever happens in it, there is a reply."""
        if command.digest in self._unstored:
            self._finish(command, self._unstored[command.digest], send=False)
            return
        try:
            if command.started:
                raise RequestError(
                    "interrupted", "the station stopped while carrying this out: look before you repeat it"
                )
            reply = self._handle(command, waiting)
        except RequestError as error:
            reply = _failed(command.asks, transaction(command.payload), error.code, str(error))
        except EngineError as error:
            reply = _failed(command.asks, transaction(command.payload), error.code, str(error))
        except StoreError as error:
            reply = _failed(command.asks, transaction(command.payload), "storage", str(error))
        except Exception as error:  # one of the two boundaries: counted, logged, reported
            log.exception("command %s failed", command.name)
            reply = _failed(command.asks, transaction(command.payload), "internal", f"unexpected: {error!r}")
        if self._closed.is_set() and reply.error is not None and reply.error.code == "cancelled" and not reply.calls:
            return  # nothing was done yet: the next start answers it
        self._count(reply)
        self._finish(command, self._encode(command, reply), send=True)

    def _count(self, reply: Reply) -> None:
        if reply.error is None:
            self._counters.add("commands_answered")
        else:
            self._counters.add("commands_failed", reason=reply.error.code)
        for stage, value_ms in reply.timing_ms.items():
            self._counters.observe("command", value_ms, stage=stage)
        for call in reply.calls:
            self._counters.add("calls_reported", outcome=call.outcome, decided_by=call.decided_by)

    def _finish(self, command: StoredCommand, reply: Outgoing, *, send: bool) -> None:
        """Store the reply. Where the disk refuses, it is sent from memory and the command not carried out again."""
        try:
            self._store.answer(command, reply, send=send)
            self._unstored.pop(command.digest, None)
            self._shared.pop(command.digest, _nothing)()
            self._outbox.wake()
        except StoreError as error:
            log.error("%s", error)
            self._counters.add("store_errors")
            if send:
                self._unstored[command.digest] = reply
                self._outbox.put(reply)
            self._closed.wait(1.0)

    def _handle(self, command: StoredCommand, waiting: Callable[[], None]) -> Reply:
        if command.expires < unix_time():
            raise RequestError("expired", "the command expired before it could be handled")
        if len(command.payload) > (largest := self._largest(command.asks, command.payload)):
            raise RequestError("too_large", f"a command may have {largest} bytes")
        handler = self.handlers.get(command.asks)
        if command.shared and command.asks != "ask":
            raise RequestError("not_in_group", f"a group takes `ask` alone: send {command.asks!r} to a station itself")
        if handler is None:
            known = ", ".join(sorted(self.handlers))
            raise RequestError("unknown_command", f"{command.asks!r} is not a command; known: {known}")
        return handler(command, waiting)

    def _encode(self, command: StoredCommand, reply: Reply) -> Outgoing:
        """With the request's own id. The reply to an expired command must not itself be dropped as expired."""
        body = reply.model_copy(update={"id": command.digest[:32]})
        expires = max(command.expires, unix_time() + self._config.commands.expiry_s)
        return Outgoing(command.response_topic, body.encode(), JSON_TYPE, command.correlation, expires)


def _nothing() -> None:
    """Of a command that was acknowledged when it was taken over."""


def _failed(command: str, transaction: str, code: str, message: str) -> Reply:
    return Reply(command=command, transaction=transaction, ok=False, error=WireError(code=code, message=message))
