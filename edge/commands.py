"""Commands: taken over durably before they are acknowledged, answered once, answered again to a duplicate."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from pydantic import ValidationError

from edge.bindings import Bindings
from edge.config import DAY_S, Config
from edge.counters import Counters
from edge.errors import RequestError, StoreError
from edge.messages import JSON_TYPE, AskCommand, Reply, WireError
from edge.mqtt import Message
from edge.outbox import Outbox
from edge.policy import Policy
from edge.store import Outgoing, Store, StoredCommand
from edge.topics import Topics
from runtime.assistant import Answer, ask
from runtime.chat import Message as ChatMessage
from runtime.engine import Engine
from runtime.errors import EngineError
from runtime.sampling import Sampling
from runtime.scheduler import Priority, Request

log = logging.getLogger("lineside.commands")
MAX_PAYLOAD_BYTES = 64 * 1024
NO_UTF8 = "the command is neither JSON nor UTF-8 text"


class Commands:
    """Takes commands off the network thread and answers them on its own."""

    def __init__(
        self, config: Config, topics: Topics, engine: Engine, store: Store, outbox: Outbox, counters: Counters
    ) -> None:
        self._config, self._topics, self._engine = config, topics, engine
        self._store, self._outbox, self._counters = store, outbox, counters
        self.policy = Policy(config.tools)
        self.bindings = Bindings(topics, self.policy, outbox.put, counters)
        self._tools = self.policy.offered()
        self.handlers: dict[str, Callable[[StoredCommand], Reply]] = {"ask": self._ask}
        if self._tools:
            engine.grammars.tools(self._tools)  # a tool that cannot be expressed is found at start
        self._unstored: dict[str, Outgoing] = {}
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self.bindings.close()
        self._wake.set()
        self._thread.join(timeout=5)

    def accept(self, name: str, message: Message) -> None:
        """On the network thread: refuse what is stale, take over the rest, then acknowledge."""
        if message.retain:
            self._counters.add("commands_ignored_retained")
            message.acknowledge()
            return
        self._counters.add("commands_received")
        now = time.time()
        topic = message.response_topic or self._topics.response(name)
        command = StoredCommand(
            name=name,
            payload=message.payload[: MAX_PAYLOAD_BYTES + 1],
            response_topic=topic if self._may_publish(topic) else self._topics.response(name),
            correlation=message.correlation,
            expires=now + min(message.expiry_s or self._config.commands.expiry_s, DAY_S),
            digest=_digest(name, topic, message.correlation, message.payload),
        )
        try:
            if not self._may_publish(topic):
                raise RequestError("response_topic_refused", f"{topic!r} is outside the allowed response topics")
            if not self._store.take_over(command):
                self._counters.add("commands_duplicate")
                self._outbox.wake()
        except RequestError as error:
            self._outbox.put(self._encode(command, _failed(name, "", error.code, str(error))))
            self._counters.add("commands_failed")
        except StoreError as error:
            log.error("%s", error)
            self._counters.add("store_errors")
            self._outbox.put(self._encode(command, _failed(name, "", "storage", str(error))))
        message.acknowledge()
        self._wake.set()

    def _may_publish(self, topic: str) -> bool:
        """A requester must not steer where the daemon publishes."""
        if any(mark in topic for mark in "#+\x00") or topic.startswith("$"):
            return False
        allowed = (f"{self._topics.base}/rsp/", *self._config.mqtt.response_prefixes)
        return any(topic.startswith(prefix) for prefix in allowed)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                waiting = self._store.waiting_commands()
            except StoreError as error:
                log.error("%s", error)
                self._closed.wait(1.0)
                continue
            for command in waiting:
                if self._closed.is_set():
                    return
                self._answer(command)
            if not waiting:
                self._wake.wait(1.0)
                self._wake.clear()

    def _answer(self, command: StoredCommand) -> None:
        """The daemon's boundary for a command: whatever happens in it, there is a reply."""
        if command.digest in self._unstored:
            self._finish(command, self._unstored[command.digest], send=False)
            return
        try:
            if command.started:
                raise RequestError(
                    "interrupted", "the station stopped while carrying this out: look before you repeat it"
                )
            reply = self._handle(command)
        except RequestError as error:
            reply = _failed(command.name, _transaction(command.payload), error.code, str(error))
        except EngineError as error:
            reply = _failed(command.name, _transaction(command.payload), error.code, str(error))
        except StoreError as error:
            reply = _failed(command.name, _transaction(command.payload), "storage", str(error))
        except Exception as error:  # one of the two boundaries: counted, logged, reported
            log.exception("command %s failed", command.name)
            reply = _failed(command.name, _transaction(command.payload), "internal", f"unexpected: {error!r}")
        if self._closed.is_set() and reply.error is not None and reply.error.code == "cancelled":
            return  # nothing was done yet: the next start answers it
        self._counters.add("commands_answered" if reply.ok else "commands_failed")
        self._finish(command, self._encode(command, reply), send=True)

    def _finish(self, command: StoredCommand, reply: Outgoing, *, send: bool) -> None:
        """Store the reply. Where the disk refuses, it is sent from memory and the command not carried out again."""
        try:
            self._store.answer(command, reply, send=send)
            self._unstored.pop(command.digest, None)
            self._outbox.wake()
        except StoreError as error:
            log.error("%s", error)
            self._counters.add("store_errors")
            if send:
                self._unstored[command.digest] = reply
                self._outbox.put(reply)
            self._closed.wait(1.0)

    def _handle(self, command: StoredCommand) -> Reply:
        if command.expires < time.time():
            raise RequestError("expired", "the command expired before it could be handled")
        if len(command.payload) > MAX_PAYLOAD_BYTES:
            raise RequestError("too_large", f"a command may have {MAX_PAYLOAD_BYTES} bytes")
        handler = self.handlers.get(command.name)
        if handler is None:
            known = ", ".join(sorted(self.handlers))
            raise RequestError("unknown_command", f"{command.name!r} is not a command; known: {known}")
        return handler(command)

    def _ask(self, command: StoredCommand) -> Reply:
        request = parse_ask(command.payload)
        if request.expires_at is not None and request.expires_at < datetime.now(request.expires_at.tzinfo):
            raise RequestError("expired", "expires_at has passed")
        deadline = _deadline(command, request)
        started = time.perf_counter()
        model = self._config.model
        messages = [ChatMessage("system", (self._config.commands.system,)), ChatMessage("user", (request.text,))]
        answer = ask(
            self._engine,
            messages,
            self._tools,
            max_tokens=request.max_tokens or model.max_tokens,
            sampling=Sampling(model.temperature, model.seed),
            request=Request(Priority.COMMAND, deadline, self._closed.is_set),
        )
        if answer.calls:
            if time.monotonic() >= deadline:
                raise RequestError("deadline", "the command expired while the model answered: nothing was called")
            self._store.mark_started(command)
        calls = [self.bindings.carry_out(call) for call in answer.calls]
        total_ms = (time.perf_counter() - started) * 1e3
        return Reply(
            command="ask",
            transaction=request.transaction,
            ok=answer.finish_reason == "stop",
            text=answer.text,
            calls=calls,
            error=_unfinished(answer),
            timing_ms=_timings(answer, total_ms),
        )

    def _encode(self, command: StoredCommand, reply: Reply) -> Outgoing:
        """The reply to an expired command must not itself be dropped as expired."""
        expires = max(command.expires, time.time() + self._config.commands.expiry_s)
        return Outgoing(command.response_topic, reply.encode(), JSON_TYPE, command.correlation, expires)


def parse_ask(payload: bytes) -> AskCommand:
    """JSON object, or plain text.

    Raises:
        RequestError: neither, or a JSON object of another shape.
    """
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise RequestError("malformed", NO_UTF8) from None
    if not text or "\x00" in text:
        raise RequestError("malformed", "the command is empty" if not text else NO_UTF8)
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    try:
        if isinstance(body, dict):
            return AskCommand.model_validate_json(text)
        return AskCommand(text=text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise RequestError("malformed", f"not an ask command: {problems}") from None


def _deadline(command: StoredCommand, request: AskCommand) -> float:
    """On `time.monotonic()`: when the answer is of no use any more."""
    expires = command.expires
    if request.expires_at is not None:
        expires = min(expires, request.expires_at.timestamp())
    return time.monotonic() + expires - time.time()


def _transaction(payload: bytes) -> str:
    """The requester's own id, for the reply to a command that failed; empty where there is none."""
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return ""
    text = str(body.get("transaction", "")) if isinstance(body, dict) else ""
    return text[:200].encode("utf-8", "replace").decode()  # JSON can smuggle in half a surrogate pair


def _digest(name: str, topic: str, correlation: bytes | None, payload: bytes) -> str:
    """Identity of a request. Without correlation data or a transaction, every message is a request of its own."""
    mark = correlation or _transaction(payload).encode()
    unique = mark if mark else time.time_ns().to_bytes(8, "big")
    parts = (name.encode(), topic.encode(), unique, payload)
    return hashlib.sha256(b"\x00".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _failed(command: str, transaction: str, code: str, message: str) -> Reply:
    return Reply(command=command, transaction=transaction, ok=False, error=WireError(code=code, message=message))


def _unfinished(answer: Answer) -> WireError | None:
    if answer.finish_reason == "stop":
        return None
    return WireError(code=answer.finish_reason, message=f"the answer was ended after {answer.counts.generated} tokens")


def _timings(answer: Answer, total_ms: float) -> dict[str, float]:
    t = answer.timings
    stages = {"preprocess": t.preprocess_ms, "prefill": t.prefill_ms, "decode": t.decode_ms, "total": total_ms}
    return {name: round(value, 2) for name, value in stages.items()}
