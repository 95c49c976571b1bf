"""How sure a model was of a call: the probabilities of the tokens it chose, among those that the grammar allowed."""

from __future__ import annotations

from dataclasses import dataclass

SURE = 1.0


@dataclass(frozen=True)
class Confidence:
    """Probabilities, 0 to 1, each the product over the tokens of a part.

    Attributes:
        call: that a function is called at all.
        name: that it is this one.
        arguments: that its arguments are these.
        weakest: of the least sure token of name and arguments.
    """

    call: float = SURE
    name: float = SURE
    arguments: float = SURE
    weakest: float = SURE

    @property
    def whole(self) -> float:
        """Of the call as it is, once it is clear that one is made."""
        return self.name * self.arguments


class ConfidenceMeter:
    """Follows one answer token by token. `calls` holds the confidence of each call that has begun."""

    def __init__(self) -> None:
        self.calls: list[Confidence] = []

    def push(self, index: int, state: str, probability: float) -> None:
        """A token of the `index`-th call; `state` as `CallStream.state` was before it."""
        if index < 0:
            return
        while len(self.calls) <= index:
            self.calls.append(Confidence())
        now = self.calls[index]
        if state == "text":
            self.calls[index] = Confidence(probability, now.name, now.arguments, now.weakest)
        elif state == "name":
            weakest = min(now.weakest, probability)
            self.calls[index] = Confidence(now.call, now.name * probability, now.arguments, weakest)
        else:
            weakest = min(now.weakest, probability)
            self.calls[index] = Confidence(now.call, now.name, now.arguments * probability, weakest)
