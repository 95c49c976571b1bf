"""Fourth stage: the decoder's last layer learns to read the pictures and to write the answer.

It is new, behind the layers that come from SmolLM2 and stay as they are: what it says is not garbled by others, nothing
has to be propagated back through them, and commands keep their answers as long as it says nothing there (`quiet`).

Where a box stands it would not find out from the digits alone: for a long time it would write the mean of all boxes. So
its first head begins as a pointer (`point`): it looks at the tokens of a defect and passes the defect's edges on,
which are nearly linear in the tokens' states. What is left to learn is to write them down, digit by digit: from
dictation of made-up edges, since a few hundred pictures have so few boxes that their numbers would be learnt by heart.
A second head begins as one that looks there, too, and passes on which type of fault it is.

Behind a norm only ratios are known: an edge is told beside a one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.mistral.modeling_mistral import apply_rotary_pos_emb

from lineside.export.default_model.data import pcb
from lineside.export.default_model.networks.losses import sight
from lineside.export.default_model.networks.rounding import stored4
from lineside.export.default_model.stages.states import Sample

SCREW_PACKS, BOARD_PACKS, DICTATIONS = 2, 2, 2
"""Of a step, beside one pack of commands."""
BOX_WEIGHT = 0.1
"""Of boxes in answers about screws: few camera positions are known, and what they have in common would be learnt. To
write is learnt from dictation."""
LOOK_WEIGHT, TOLD_WEIGHT, QUIET_WEIGHT = 0.5, 5.0, 2.0
COPIES, KEY_COPIES = 8, 4
"""A row of four-bit weights errs by seven percent; several that make up for each other's errors, by one."""
SHARPNESS = 2.2
"""Of the pointer at first, over the log odds that a token shows a defect."""
LOUDNESS = 1.5
"""Of an edge or a mark at first, in lengths of a state."""
TRUE_ODDS, TRUE_NOISE = 0.6, 0.006
"""Of writing from the true edges, and how far from the truth those are, in sides of the picture."""
FRESH_GAIN, SHOWN_GAIN = 0.3, 0.1
"""Of random weights that stay beside the pointer's, in the output matrix and in its own head."""
LEAST_ONE = 1.0
"""That the pointer tells, where it is helped."""
LEAST_SPREAD = 0.05
EDGE_RIDGE, NAME_RIDGE, QUERY_RIDGE, MARK_DECAY = 1e-2, 1e-2, 1e-3, 1e-4
BOARD_WEIGHT, TEXT_WEIGHT = 0.2, 0.1
"""Beside screws, where edges are fitted: on a board, seen close up, they hardly vary; of text nothing is to be read."""
EDGES = 4
FAINT, PLAIN = 0.2, 0.5
"""Of a token: how much a defect covers where its edges can be told, and where it is sure to be seen."""
MIDDLE = 0.5
FEW = 40
"""Samples by which sizes are judged."""


def make_heads(hidden: int) -> nn.ModuleDict:
    """`told` reads four edges and a one from what attention adds to a state of `hidden` channels; `tell` says them."""
    heads = {"told": nn.Linear(hidden, EDGES + 1, bias=False), "tell": nn.Linear(EDGES + 1, hidden, bias=False)}
    return nn.ModuleDict(heads).requires_grad_(False)


def point(
    layer: Any, heads: nn.ModuleDict, samples: Sequence[Sample], boards: Sequence[Sample], *, fresh: bool = True
) -> None:
    """Make the first head of `layer` a pointer to defects, as samples of screws and of `boards` show them, and the
    first of the next group one to their types.

    A layer that is not `fresh` was a pointer behind other states: what its first head tells stays where it was. The
    second group starts anew in any case.

    The pointer looks at the tokens that a logistic regression marks, and says the box around what it looks at, which a
    ridge regression reads, how marked it is, and a one. Nothing else says anything in the same directions at first, and
    `heads` are made to hear what is said there.
    """
    attention = layer.self_attn
    with torch.no_grad():
        spread = _spread(samples).to(attention.o_proj.weight.device)
        if fresh:
            _even_channels(layer, spread)
        screw, board = _seen(layer, samples), _seen(layer, boards)
    marks = _mark(
        torch.cat([screw.image, board.image]),
        torch.cat([screw.text, board.text]),
        torch.cat([screw.covered, board.covered]),
    )
    with torch.no_grad():
        asking = screw.asking
        query = _ridge(asking, torch.ones(len(asking), 1, device=asking.device), QUERY_RIDGE)[:, 0]
        edges, pictured = _edges(screw, board)
        told = [*edges.T, marks / 10, pictured]
        plain = board.covered > FAINT
        named = nn.functional.one_hot(board.kinds[plain], len(pcb.TYPES)).float()
        names = _ridge(board.image[plain], named - named.mean(0), NAME_RIDGE).T
        size = torch.cat([s.states[s.rows].float() for s in samples[:FEW]]).square().mean().sqrt()
        directions, _ = torch.linalg.qr(torch.randn(len(spread), len(told) + len(names), device=spread.device))
        directions *= spread[:, None] * size * len(spread) ** 0.5 * LOUDNESS
        group = attention.num_key_value_groups
        if not fresh:
            directions[:, : len(told)] = _spoken(attention, len(told))
        for matrix in (attention.q_proj, attention.k_proj, attention.v_proj):
            matrix.weight[: attention.head_dim] *= SHOWN_GAIN if fresh else 1.0
        if fresh:
            attention.o_proj.weight *= FRESH_GAIN
            attention.o_proj.weight[:, : attention.head_dim] = 0
        attention.o_proj.weight[:, group * attention.head_dim : 2 * group * attention.head_dim] = 0
        attention.q_proj.weight[group * attention.head_dim : (group + 1) * attention.head_dim] *= SHOWN_GAIN
        reads, heard = torch.linalg.pinv(directions), [*range(EDGES), len(told) - 1]
        attention.o_proj.weight -= directions @ (reads @ attention.o_proj.weight)
        for head, others in ((0, told), (group, list(names))):
            _look(attention, head, query, marks)
            _tell(attention, head, others, directions[:, : len(told)] if head == 0 else directions[:, len(told) :])
        heads["tell"].weight.copy_(directions[:, heard])
        heads["told"].weight.copy_(reads[heard])


def _look(attention: Any, head: int, query: Tensor, marks: Tensor) -> None:
    """Let a query head, the first of its group, look at what is marked."""
    width, half = attention.head_dim, attention.head_dim // 2
    asked, shown = head * width, head // attention.num_key_value_groups * width
    slow = slice(width - KEY_COPIES, width)  # the channels that rotary embedding hardly turns
    still = slice(half - KEY_COPIES, half)  # and those that it would turn them into
    keys, queries = attention.k_proj.weight[shown : shown + width], attention.q_proj.weight[asked : asked + width]
    keys[slow] = copies(marks, KEY_COPIES)
    queries[slow] = query * SHARPNESS * width**0.5 / KEY_COPIES
    keys[still], queries[still] = 0, 0


def _tell(attention: Any, head: int, told: Sequence[Tensor], directions: Tensor) -> None:
    """Let a query head, the first of its group, add `directions` by what rows `told` read where it looks."""
    width = attention.head_dim
    values = attention.v_proj.weight[head // attention.num_key_value_groups * width :]
    outputs = attention.o_proj.weight[:, head * width :]
    for number, row in enumerate(told):
        place = slice(number * COPIES, (number + 1) * COPIES)
        values[place] = copies(row, COPIES)
        outputs[:, place] = directions[:, number, None] / COPIES


def _spoken(attention: Any, count: int) -> Tensor:
    """In which directions the first head tells `count` things, `(hidden, count)`."""
    return torch.stack(
        [attention.o_proj.weight[:, number * COPIES : (number + 1) * COPIES].sum(1) for number in range(count)], 1
    )


def copies(row: Tensor, count: int) -> Tensor:
    """`count` rows whose mean, when they are rounded, is `row`: each makes up for the errors of those before it."""
    rows, stored = [], torch.zeros_like(row)
    for number in range(1, count + 1):
        rows.append(row * number - stored)
        stored = stored + stored4(rows[-1][None])[0]
    return torch.stack(rows)


class ReadingStage:
    """Draws samples and computes the losses. `samples` are with pictures and their boxes, `boards` with references,
    too, `dictations` with made-up boxes, `commands` without pictures."""

    def __init__(
        self,
        model: Any,
        heads: nn.ModuleDict,
        samples: Sequence[Sample],
        boards: Sequence[Sample],
        dictations: Sequence[Sample],
        commands: Sequence[Sample],
        device: torch.device,
    ) -> None:
        self._language, self._head, self._heads = model.model.language_model, model.lm_head, heads
        self._samples, self._boards, self._dictations, self._commands = samples, boards, dictations, commands
        self._device = device

    def losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """One step's losses: the answers, where and what the pointer points at, and silence beside commands."""
        picked = [_any(self._samples, rng) for _ in range(SCREW_PACKS)]
        with nn.utils.parametrize.cached():
            answers = [self._answer_losses(sample, rng.random() < TRUE_ODDS, BOX_WEIGHT) for sample in picked]
            losses = {name: torch.stack([answer[name] for answer in answers]).mean() for name in answers[0]}
            drawn = [_any(self._boards, rng) for _ in range(BOARD_PACKS)]
            compared = [self._answer_losses(sample, rng.random() < TRUE_ODDS) for sample in drawn]
            losses["boards"] = torch.stack([torch.stack(list(each.values())).sum() for each in compared]).mean()
            dictated = [self._dictated(_any(self._dictations, rng)) for _ in range(DICTATIONS)]
            losses["dictated"] = torch.stack(dictated).mean()
            losses["quiet"] = self._changed(_any(self._commands, rng)) * QUIET_WEIGHT
        return losses

    def _answer_losses(self, sample: Sample, from_truth: bool, box_weight: float = 1.0) -> dict[str, Tensor]:
        """Weighted cross entropy of the answers' tokens; where the pointer looks; and what it says of the edges."""
        logits, looked, told = self._answer(sample, from_truth)
        labels, weights = sample.labels.to(self._device), sample.weights.to(self._device)
        weights = weights.clone()
        weights[sample.boxes.to(self._device)] *= box_weight
        loss = nn.functional.cross_entropy(logits, labels, reduction="none")
        answer = (loss * weights).sum() / weights.sum()
        if not len(sample.boxes):
            return {"answer": answer, "look": looked.sum() * 0, "told": told.sum() * 0}
        boxes, shares = sample.boxes.to(self._device), sample.shares.to(self._device).float()
        return {
            "answer": answer,
            "look": -(looked[boxes] * shares).sum(-1).mean() * LOOK_WEIGHT,
            "told": self._missing(told, sample)[:, :EDGES].abs().mean() * TOLD_WEIGHT,
        }

    def _dictated(self, sample: Sample) -> Tensor:
        """Weighted cross entropy of the boxes' tokens, written from the true edges."""
        logits, boxes = self._answer(sample, from_truth=True)[0], sample.boxes.to(self._device)
        labels, weights = sample.labels.to(self._device)[boxes], sample.weights.to(self._device)[boxes]
        return (nn.functional.cross_entropy(logits[boxes], labels, reduction="none") * weights).sum() / weights.sum()

    def _changed(self, sample: Sample) -> Tensor:
        """How far what the decoder says there is from what it would say without the last layer, in nats a token."""
        with torch.no_grad():
            states = sample.states[sample.rows].to(self._device).float()
            before = self._head(self._language.norm(states)).float().log_softmax(-1)
        after = self._answer(sample)[0].log_softmax(-1)
        return (before.exp() * (before - after)).sum(-1).mean()

    def _answer(self, sample: Sample, from_truth: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Logits `(R, V)`, log of how the pointer shares its attention `(R, T)`, and what it tells `(R, 5)`.

        With `from_truth` the answer is written from the true edges instead of those that the pointer tells.
        """
        layer = self._language.layers[-1]
        state, looked, told = self.attend(sample)
        if from_truth and len(sample.boxes):
            missing = self._missing(told, sample, TRUE_NOISE, LEAST_ONE)
            state = state.index_add(0, sample.boxes.to(self._device), self._heads["tell"](missing).to(state.dtype))
        state = state + layer.mlp(layer.post_attention_layernorm(state))
        return self._head(self._language.norm(state)).float(), looked, told

    def attend(self, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
        """States behind the attention `(R, hidden)`, log of how the pointer shares it `(R, T)`, what it tells `(R, 5)`.

        Only the rows are computed: no layer comes behind that would look at the others.
        """
        layer = self._language.layers[-1]
        attention, rows = layer.self_attn, sample.rows.to(self._device)
        states, positions = sample.states.to(self._device).float(), sample.positions.to(self._device)[None]
        normed = layer.input_layernorm(states)
        query, key, value = (
            matrix(given).unflatten(-1, (-1, attention.head_dim)).transpose(0, 1)[None]
            for matrix, given in (
                (attention.q_proj, normed[rows]), (attention.k_proj, normed), (attention.v_proj, normed)
            )
        )  # fmt: skip
        cosine, sine = self._language.rotary_emb(states[None], positions)
        query, _ = apply_rotary_pos_emb(query, query, cosine[:, rows], sine[:, rows])
        key, _ = apply_rotary_pos_emb(key, key, cosine, sine)
        group = attention.num_key_value_groups
        key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
        scores = (query @ key.transpose(-1, -2)).float() * attention.scaling
        seen = sight(sample.owner.to(self._device))[rows]
        looked = scores.masked_fill(~seen, -1e4).log_softmax(-1)  # (1, heads, R, T)
        mixed = (looked.exp().to(value.dtype) @ value).transpose(1, 2).flatten(2)[0]
        added = attention.o_proj(mixed)
        return states[rows] + added, looked[0, 0], self._heads["told"](added).float()

    def _missing(self, told: Tensor, sample: Sample, noise: float = 0.0, least: float = 0.0) -> Tensor:
        """What the pointer would have to tell beside what it tells, `(B, 5)`: edges as large as its one, which would be
        `least` at least."""
        edges, told = sample.edges.to(self._device), told[sample.boxes.to(self._device)]
        one = told[:, EDGES:].detach().clamp_min(least)
        wanted = (edges + torch.randn_like(edges) * noise - MIDDLE) * one
        return torch.cat([wanted, one], 1) - told


def _any(samples: Sequence[Sample], rng: np.random.Generator) -> Sample:
    return samples[int(rng.integers(len(samples)))]


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


@dataclass(frozen=True)
class Seen:
    """States as the attention is given them, `(N, hidden)`.

    Attributes:
        image: of all image tokens, with `covered`, `around` and `kinds` as in `Sample`.
        sizes: what their norm divided them by, in means of this where a defect is, `(N, 1)`.
        text: of some other tokens.
        asking: of some that answer.
    """

    image: Tensor
    sizes: Tensor
    covered: Tensor
    around: Tensor
    kinds: Tensor
    text: Tensor
    asking: Tensor


def _seen(layer: Any, samples: Sequence[Sample]) -> Seen:
    device = layer.input_layernorm.weight.device
    image, sizes, text, asking = [], [], [], []
    for number, sample in enumerate(samples):
        states = sample.states[sample.tokens].float().to(device)
        image.append(layer.input_layernorm(states))
        sizes.append(states.square().mean(-1, keepdim=True).sqrt())
        if number < FEW:
            other = torch.ones(len(sample.states), dtype=torch.bool)
            other[sample.tokens] = False
            text.append(layer.input_layernorm(sample.states[other].float().to(device)))
            asking.append(layer.input_layernorm(sample.states[sample.rows].float().to(device)))
    covered, size = torch.cat([sample.covered for sample in samples]).to(device), torch.cat(sizes)
    return Seen(
        image=torch.cat(image),
        sizes=size / size[covered > FAINT].mean(),
        covered=covered,
        around=torch.cat([sample.around for sample in samples]).to(device),
        kinds=torch.cat([sample.kinds for sample in samples]).to(device),
        text=torch.cat(text),
        asking=torch.cat(asking),
    )


def _edges(screw: Seen, board: Seen) -> tuple[Tensor, Tensor]:
    """Rows that read a defect's edges, from the middle of the picture, and a one: `(hidden, 4)` and `(hidden,)`.

    Both are as large as the state was before the norm, in whose place only their ratio is known; of text they read
    nothing.
    """
    given, wanted = [], []
    for seen, weight in ((screw, 1.0), (board, BOARD_WEIGHT)):
        plain = seen.covered > FAINT
        share = len(plain.nonzero()) ** -0.5 * weight
        given.append(seen.image[plain] * seen.sizes[plain] * share)
        wanted.append(torch.cat([seen.around[plain] - MIDDLE, torch.ones_like(seen.around[plain, :1])], 1) * share)
        given.append(seen.text * len(seen.text) ** -0.5 * TEXT_WEIGHT)
        wanted.append(torch.zeros(len(seen.text), EDGES + 1, device=seen.text.device))
    rows = _ridge(torch.cat(given), torch.cat(wanted), EDGE_RIDGE)
    return rows[:, :EDGES], rows[:, EDGES]


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
