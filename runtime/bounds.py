"""What may be asked of a model at all: what it was not taught gets an error, and no noise for an answer."""

from __future__ import annotations

from lineside.runtime.errors import NotTaught
from lineside.runtime.manifest import Manifest


def check_question(manifest: Manifest, *, tools: bool, pictures: bool) -> None:
    """Whether the model was taught to answer a conversation with or without tools, or pictures in it.

    Raises:
        NotTaught: free text of a model that was not taught to converse, or to say in words what a picture shows.
    """
    if tools:
        return
    if pictures and manifest.taught.describes_pictures is False:
        raise NotTaught(
            f"the model {manifest.name} was not taught to say what a picture shows: inspect it (`lineside inspect`), "
            "or take a bundle that was"
        )
    if manifest.taught.conversation is False:
        raise NotTaught(
            f"the model {manifest.name} was not taught to converse: declare tools, among which it chooses, or take "
            "a bundle that was"
        )
