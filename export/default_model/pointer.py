"""Where the last layer begins: some heads of its attention point at defects, and tell what stands there.

From answers alone the layer would not find out where a box stands: for a long time it would write the mean of all
boxes. But which image tokens show a defect, the defect's edges, and which number is being written can all be read
linearly from the states. So these heads are made by regression:

- one for each edge of a box, which looks at the defect while that edge is written, and at the beginning of the text,
  which tells nothing, otherwise. All four tell their edge in the same direction: what is left to learn is to write one
  number down, digit by digit;
- one that says which type of fault it sees;
- one that says how sure it is that there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from export.default_model import pcb
from export.default_model.rounding import stored4
from export.default_model.states import Sample

EDGE_HEADS, TYPE_HEAD, SURE_HEAD, GROUPS = (0, 1, 2, 4), 3, 5, 2
"""Of nine heads in three groups, which share what they look for and what they can tell."""
COPIES, KEY_COPIES = 7, 4
"""A row of four-bit weights errs by seven percent; several that make up for each other's errors, by one."""
SHARPNESS, SINK = 1.5, 14.0
"""Of a head at first: over the log odds that a token shows a defect, and for the beginning, while it has nothing to
tell."""
LOUDNESS = 1.5
"""Of what is told at first, in lengths of a state."""
FRESH_GAIN, SHOWN_GAIN = 0.3, 0.1
"""Of random weights that stay beside those of the heads, in the output matrix and where they look."""
LEAST_SPREAD = 0.05
EDGE_RIDGE, QUERY_RIDGE, MARK_DECAY = 1e-2, 1e-3, 1e-4
FAINT, PLAIN = 0.1, 0.5
"""Of a token: how much a defect covers where its edges can be told, and where it is sure to be seen."""
MIDDLE = 0.5
EDGES = 4
FEW = 40
"""Samples by which sizes are judged, and what is asked."""


@dataclass(frozen=True)
class Seen:
    """States as the attention is given them, `(N, hidden)`.

    Attributes:
        image: of all image tokens, with `covered`, `around` and `kinds` as in `Sample`.
        text: of other tokens.
        asking: of tokens that answer; `edges` says which edge each writes.
        beginning: of the first token, `(hidden,)`.
    """

    image: Tensor
    covered: Tensor
    around: Tensor
    kinds: Tensor
    text: Tensor
    asking: Tensor
    edges: Tensor
    beginning: Tensor


def make_heads(hidden: int) -> nn.ModuleDict:
    """`told` reads the edge that is being written from what attention adds to a state of `hidden` channels; `tell` says
    one there."""
    heads = {"told": nn.Linear(hidden, 1), "tell": nn.Linear(1, hidden, bias=False)}
    return nn.ModuleDict(heads).requires_grad_(False)


def point(
    layer: Any,
    heads: nn.ModuleDict,
    screws: Sequence[Sample],
    boards: Sequence[Sample],
    dictations: Sequence[Sample],
    *,
    fresh: bool = True,
) -> None:
    """Make some heads of `layer` pointers, and `heads` hear what they tell of edges.

    The edges are read from screws: on a board, seen close up, they hardly vary. A layer that is not `fresh` had such
    heads behind other states: what they tell stays where it was.
    """
    attention = layer.self_attn
    with torch.no_grad():
        if fresh:
            _even_channels(layer, _spread(screws).to(attention.o_proj.weight.device))
        screw, board, dictated = (_seen(layer, each) for each in (screws, boards, dictations[:FEW]))
        asking, edges = (
            torch.cat([getattr(each, name) for each in (screw, board, dictated)]) for name in ("asking", "edges")
        )
    marks = _mark(
        torch.cat([screw.image, board.image]),
        torch.cat([screw.text, board.text]),
        torch.cat([screw.covered, board.covered]),
    )
    with torch.no_grad():
        ones = torch.ones(len(asking), 1, device=asking.device)
        always = _ridge(asking, ones, QUERY_RIDGE)[:, 0]
        writing = nn.functional.one_hot(edges + 1, EDGES + 1).float()[:, 1:]
        when = _ridge(asking, writing, QUERY_RIDGE).T
        told = _told(screw, marks)
        told[1] += [*_names(board)]
        loud = _directions(attention, screws, fresh)
        if fresh:
            attention.q_proj.weight[: GROUPS * attention.num_key_value_groups * attention.head_dim] *= SHOWN_GAIN
            for matrix in (attention.k_proj, attention.v_proj):
                matrix.weight[: GROUPS * attention.head_dim] *= SHOWN_GAIN
            attention.o_proj.weight *= FRESH_GAIN
        beginning = screw.beginning / screw.beginning.square().sum()
        for group, rows in enumerate(told):
            _show(attention, group, marks, beginning)
            _store(attention, group, rows)
        for edge, head in enumerate(EDGE_HEADS):
            _ask(attention, head, when[edge], always - when[edge])
            first, seen = (edge, EDGES - 1) if head < attention.num_key_value_groups else (0, 1)
            _tell(attention, head, {first: loud["edge"], seen: loud["seen"]})
        _ask(attention, TYPE_HEAD, always)
        _tell(attention, TYPE_HEAD, {3 + number: loud[name] for number, name in enumerate(pcb.TYPES)})
        _ask(attention, SURE_HEAD, always)
        _tell(attention, SURE_HEAD, {1: loud["picture"], 2: loud["sure"]})
        heads["tell"].weight.copy_(loud["edge"][:, None])
        heads["told"].weight.copy_(torch.linalg.pinv(torch.stack([*loud.values()], 1))[:1])
        heads["told"].bias.fill_(MIDDLE)


def _told(screw: Seen, marks: Tensor) -> list[list[Tensor]]:
    """What the first two groups of heads can tell: three edges and that it is a picture; the fourth, that again, and
    how marked it is. `(hidden,)` each. The beginning tells none of it."""
    plain = screw.covered > FAINT
    quiet = screw.beginning.expand(int(plain.sum()), -1)
    sides = _ridge(
        torch.cat([screw.image[plain], quiet]),
        torch.cat([screw.around[plain] - MIDDLE, torch.zeros(len(quiet), EDGES, device=quiet.device)]),
        EDGE_RIDGE,
    )
    pictured = torch.cat([torch.ones(len(screw.image), 1), torch.zeros(len(screw.text) + len(quiet), 1)])
    seen = _ridge(torch.cat([screw.image, screw.text, quiet]), pictured.to(quiet.device), EDGE_RIDGE)[:, 0]
    return [[*sides.T[:3], seen], [sides.T[3], seen, marks / 10]]


def _names(board: Seen) -> Tensor:
    """Of each type of fault, `(types, hidden)`."""
    plain = board.covered > FAINT
    named = nn.functional.one_hot(board.kinds[plain], len(pcb.TYPES)).float()
    return _ridge(board.image[plain], named - named.mean(0), EDGE_RIDGE).T


def _directions(attention: Any, samples: Sequence[Sample], fresh: bool) -> dict[str, Tensor]:
    """In which direction of the states each thing is told, `(hidden,)`."""
    spoken = {"edge": (0, 0), "seen": (0, EDGES - 1), "picture": (SURE_HEAD, 1), "sure": (SURE_HEAD, 2)}
    spoken |= {name: (TYPE_HEAD, 3 + number) for number, name in enumerate(pcb.TYPES)}
    if not fresh:
        starts = {name: head * attention.head_dim + row * COPIES for name, (head, row) in spoken.items()}
        return {name: attention.o_proj.weight[:, at : at + COPIES].sum(1) for name, at in starts.items()}
    spread = _spread(samples).to(attention.o_proj.weight.device)
    size = torch.cat([s.states[s.rows].float() for s in samples[:FEW]]).square().mean().sqrt().to(spread.device)
    directions, _ = torch.linalg.qr(torch.randn(len(spread), len(spoken), device=spread.device))
    directions *= spread[:, None] * size * len(spread) ** 0.5 * LOUDNESS
    return dict(zip(spoken, directions.T, strict=True))


def _show(attention: Any, group: int, marks: Tensor, beginning: Tensor) -> None:
    """Let the keys of a group show how marked a token is, and whether it is the first.

    In the channels that rotary embedding hardly turns; those that it would turn them into are cleared.
    """
    for row, (slow, still) in zip((marks, beginning), _places(attention, group), strict=True):
        attention.k_proj.weight[slow] = copies(row, KEY_COPIES)
        attention.k_proj.weight[still] = 0


def _ask(attention: Any, head: int, looks: Tensor, rests: Tensor | None = None) -> None:
    """Let a head look at what is marked where `looks` is one, and at the first token where `rests` is."""
    asked = ((looks, SHARPNESS), (looks if rests is None else rests, 0.0 if rests is None else SINK))
    scale = attention.head_dim**0.5 / KEY_COPIES
    for (row, gain), (slow, still) in zip(asked, _places(attention, head), strict=True):
        attention.q_proj.weight[slow] = row * gain * scale
        attention.q_proj.weight[still] = 0


def _places(attention: Any, number: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Two pairs of rows of a head: slow channels, and those that they would be turned into."""
    low, half = number * attention.head_dim, attention.head_dim // 2
    ends = (low + 2 * half, low + 2 * half - KEY_COPIES)
    marked, first = ((slice(end - KEY_COPIES, end), slice(end - half - KEY_COPIES, end - half)) for end in ends)
    return marked, first


def _store(attention: Any, group: int, rows: Sequence[Tensor]) -> None:
    """Let the values of a group carry what `rows` read."""
    low = group * attention.head_dim
    for number, row in enumerate(rows):
        attention.v_proj.weight[low + number * COPIES : low + (number + 1) * COPIES] = copies(row, COPIES)


def _tell(attention: Any, head: int, told: dict[int, Tensor]) -> None:
    """Let a head add directions by what the rows of its group's values carry, and nothing else."""
    outputs = attention.o_proj.weight[:, head * attention.head_dim : (head + 1) * attention.head_dim]
    outputs.zero_()
    for row, direction in told.items():
        outputs[:, row * COPIES : (row + 1) * COPIES] = direction[:, None] / COPIES


def copies(row: Tensor, count: int) -> Tensor:
    """`count` rows whose mean, when they are rounded, is `row`: each makes up for the errors of those before it."""
    rows, stored = [], torch.zeros_like(row)
    for number in range(1, count + 1):
        rows.append(row * number - stored)
        stored = stored + stored4(rows[-1][None])[0]
    return torch.stack(rows)


def _spread(samples: Sequence[Sample]) -> Tensor:
    """How large each channel of the states is, in sizes of a state, `(hidden,)`."""
    states = torch.cat([s.states[torch.cat([s.rows, s.tokens[::3]])].float() for s in samples[:FEW]])
    sizes = states.square().mean(-1, keepdim=True).sqrt()
    return (states / sizes).square().mean(0).sqrt()


def _even_channels(layer: Any, spread: Tensor) -> None:
    """Let both norms of `layer` make all channels equally large.

    A few channels of SmolLM2's states are a hundred times as large as the others, which would drown in the rounding of
    the blocks they share.
    """
    for norm in (layer.input_layernorm, layer.post_attention_layernorm):
        norm.weight.copy_(1 / spread.clamp_min(LEAST_SPREAD))


def _seen(layer: Any, samples: Sequence[Sample]) -> Seen:
    """What `layer` is given of `samples`: all image tokens, and some of the others."""
    device = layer.input_layernorm.weight.device
    image, text, asking, edges = [], [], [], []
    for number, sample in enumerate(samples):
        image.append(layer.input_layernorm(sample.states[sample.tokens].float().to(device)))
        if number < FEW:
            other = torch.ones(len(sample.states), dtype=torch.bool)
            other[sample.tokens] = False
            text.append(layer.input_layernorm(sample.states[other].float().to(device)))
            asking.append(layer.input_layernorm(sample.states[sample.rows].float().to(device)))
            edges.append(_edges_asked(sample))
    return Seen(
        image=torch.cat(image),
        covered=torch.cat([sample.covered for sample in samples]).to(device),
        around=torch.cat([sample.around for sample in samples]).to(device),
        kinds=torch.cat([sample.kinds for sample in samples]).to(device),
        text=torch.cat(text),
        asking=torch.cat(asking),
        edges=torch.cat(edges).to(device),
        beginning=layer.input_layernorm(samples[0].states[0].float().to(device)),
    )


def _edges_asked(sample: Sample) -> Tensor:
    """Which edge each row of a sample writes, `(R,)`; -1 for none."""
    asked = torch.full((len(sample.rows),), -1)
    asked[sample.boxes] = sample.sides
    return asked


def _mark(seen: Tensor, text: Tensor, covered: Tensor) -> Tensor:
    """Logistic regression: `(hidden,)`, by which a token with a defect differs from one without and from text."""
    given = torch.cat([seen, text])
    target = torch.cat([(covered / PLAIN).clamp(0, 1), torch.zeros(len(text), device=seen.device)])
    marks, bias = (torch.zeros(n, device=seen.device, requires_grad=True) for n in (given.shape[1], 1))
    optimizer = torch.optim.LBFGS([marks, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = nn.functional.binary_cross_entropy_with_logits(given @ marks + bias, target)
        value = value + MARK_DECAY * marks.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return marks.detach()


def _ridge(given: Tensor, wanted: Tensor, ridge: float) -> Tensor:
    """Ridge regression without intercept, `(hidden, wanted)`."""
    penalty = ridge * given.square().mean() * len(given) * torch.eye(given.shape[1], device=given.device)
    return torch.linalg.solve(given.T @ given + penalty, given.T @ wanted)
