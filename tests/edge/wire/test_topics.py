"""Topics are made and read back."""

from __future__ import annotations

import pytest

from lineside.edge.wire.topics import Topics


@pytest.mark.parametrize("base", ["lineside/a", "acme/plant1/pack/line3/cell2"])
def test_topics_round_trip(base: str) -> None:
    topics = Topics(base)
    assert topics.parse(topics.frame("cam0")) == ("frame", "cam0")
    assert topics.parse(topics.command("ask")) == ("cmd", "ask")
    assert topics.parse(topics.returned("stop")) == ("ret", "stop")
    for other in (topics.result("cam0"), f"{base}/cmd", f"{base}/cmd/", f"{base}/cmd/a/b", "elsewhere/cmd/ask"):
        assert topics.parse(other) is None
