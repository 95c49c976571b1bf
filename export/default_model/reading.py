"""Fourth stage: the decoder's last layer learns to read the pictures and to write the answer.

It is new, behind the layers that come from SmolLM2 and stay as they are: what it says is not garbled by others, nothing
has to be propagated back through them, and commands keep their answers as long as it says nothing there (`quiet`).

Where a box stands it would not find out from the digits alone: for a long time it would write the mean of all boxes. So
its first head begins as a pointer (`point`): it looks at the tokens of a defect and passes the defect's edges on,
which are nearly linear in the tokens' states. What is left to learn is to write them down, digit by digit; part of the
time from the true edges, so that it does not wait for the pointer to become steady, and from dictation of made-up ones:
a few hundred pictures have so few boxes that their numbers would be learnt by heart.
A second head begins as one that looks there, too, and passes on which type of fault it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.mistral.modeling_mistral import apply_rotary_pos_emb

from export.default_model import pcb
from export.default_model.losses import sight
from export.default_model.rounding import stored4
from export.default_model.states import Sample

SCREW_PACKS, BOARD_PACKS, DICTATIONS = 2, 2, 1
"""Of a step, beside one pack of commands."""
LOOK_WEIGHT, TOLD_WEIGHT, QUIET_WEIGHT = 0.5, 5.0, 2.0
COPIES, KEY_COPIES = 8, 4
"""A row of four-bit weights errs by seven percent; several that make up for each other's errors, by one."""
SHARPNESS = 1.5
"""Of the pointer at first, over the log odds that a token shows a defect."""
LOUDNESS = 1.5
"""Of an edge or a mark at first, in lengths of a state."""
TRUE_ODDS, TRUE_NOISE = 0.6, 0.006
"""Of writing from the true edges, and how far from the truth those are, in sides of the picture."""
FRESH_GAIN, SHOWN_GAIN = 0.3, 0.1
"""Of random weights that stay beside the pointer's, in the output matrix and in its own head."""
LEAST_SPREAD = 0.05
EDGE_RIDGE, QUERY_RIDGE, MARK_DECAY = 1e-2, 1e-3, 1e-4
FAINT, PLAIN = 0.2, 0.5
"""Of a token: how much a defect covers where its edges can be told, and where it is sure to be seen."""
MIDDLE = 0.5
FEW = 40
"""Samples by which sizes are judged."""


def make_heads(hidden: int) -> nn.ModuleDict:
    """`told` reads the box that is being written from what attention adds to a state of `hidden` channels; `tell` says
    one there."""
    heads = {"told": nn.Linear(hidden, 4), "tell": nn.Linear(4, hidden, bias=False)}
    return nn.ModuleDict(heads).requires_grad_(False)


def point(
    layer: Any, heads: nn.ModuleDict, samples: Sequence[Sample], boards: Sequence[Sample], *, fresh: bool = True
) -> None:
    """Make the first head of `layer` a pointer to defects, as samples of screws and of `boards` show them, and the
    first of the next group one to their types.

    A layer that is not `fresh` was a pointer behind other states: what its first head tells stays where it was. The
    second group starts anew in any case.

    The pointer looks at the tokens that a logistic regression marks, and says the box around what it looks at, which a
    ridge regression reads, how marked it is, and that it is looking at a picture: a one, by which the size of the
    others can be told behind a norm. `heads` are made to hear it. The edges are those of screws: on a board, seen close
    up, they hardly vary.
    """
    attention = layer.self_attn
    with torch.no_grad():
        spread = _spread(samples).to(attention.o_proj.weight.device)
        if fresh:
            _even_channels(layer, spread)
        seen, text, asking = _normed(layer, samples)
        covered, around = (torch.cat([getattr(s, n) for s in samples]).to(seen.device) for n in ("covered", "around"))
        board, other, _ = _normed(layer, boards)
        faulty, kinds = (torch.cat([getattr(s, n) for s in boards]).to(seen.device) for n in ("covered", "kinds"))
    marks = _mark(torch.cat([seen, board]), torch.cat([text, other]), torch.cat([covered, faulty]))
    with torch.no_grad():
        plain = covered > FAINT
        edges = _ridge(seen[plain], around[plain] - MIDDLE, EDGE_RIDGE)
        query = _ridge(asking, torch.ones(len(asking), 1, device=asking.device), QUERY_RIDGE)[:, 0]
        one = torch.cat([torch.ones(len(seen), 1), torch.zeros(len(text), 1)]).to(seen.device)
        pictured = _ridge(torch.cat([seen, text]), one, EDGE_RIDGE)[:, 0]
        told = [*edges.T, marks / 10, pictured]
        plain = faulty > FAINT
        named = nn.functional.one_hot(kinds[plain], len(pcb.TYPES)).float()
        names = _ridge(board[plain], named - named.mean(0), EDGE_RIDGE).T
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
        for head, others in ((0, told), (group, list(names))):
            _look(attention, head, query, marks)
            _tell(attention, head, others, directions[:, : len(told)] if head == 0 else directions[:, len(told) :])
        heads["tell"].weight.copy_(directions[:, :4])
        heads["told"].weight.copy_(torch.linalg.pinv(directions[:, : len(told)])[:4])
        heads["told"].bias.fill_(MIDDLE)


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
            answers = [self._answer_losses(sample, rng.random() < TRUE_ODDS) for sample in picked]
            losses = {name: torch.stack([answer[name] for answer in answers]).mean() for name in answers[0]}
            drawn = [_any(self._boards, rng) for _ in range(BOARD_PACKS)]
            compared = [self._answer_losses(sample, rng.random() < TRUE_ODDS) for sample in drawn]
            losses["boards"] = torch.stack([torch.stack(list(each.values())).sum() for each in compared]).mean()
            dictated = [self._dictated(_any(self._dictations, rng)) for _ in range(DICTATIONS)]
            losses["dictated"] = torch.stack(dictated).mean()
            losses["quiet"] = self._changed(_any(self._commands, rng)) * QUIET_WEIGHT
        return losses

    def _answer_losses(self, sample: Sample, from_truth: bool) -> dict[str, Tensor]:
        """Weighted cross entropy of the answers' tokens; where the pointer looks; and what it says of the edges."""
        logits, looked, told = self._answer(sample, from_truth)
        labels, weights = sample.labels.to(self._device), sample.weights.to(self._device)
        loss = nn.functional.cross_entropy(logits, labels, reduction="none")
        answer = (loss * weights).sum() / weights.sum()
        if not len(sample.boxes):
            return {"answer": answer, "look": looked.sum() * 0, "told": told.sum() * 0}
        boxes, shares = sample.boxes.to(self._device), sample.shares.to(self._device).float()
        return {
            "answer": answer,
            "look": -(looked[boxes] * shares).sum(-1).mean() * LOOK_WEIGHT,
            "told": nn.functional.l1_loss(told[boxes], sample.edges.to(self._device)) * TOLD_WEIGHT,
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
        """Logits `(R, V)`, log of how the pointer shares its attention `(R, T)`, and the edges that it tells `(R, 4)`.

        Only the rows are computed: no layer comes behind that would look at the others. With `from_truth` the answer is
        written from the true edges instead of those that the pointer tells.
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
        told = self._heads["told"](added).float()
        state = states[rows] + added
        if from_truth and len(sample.boxes):
            boxes, edges = sample.boxes.to(self._device), sample.edges.to(self._device)
            missing = edges + torch.randn_like(edges) * TRUE_NOISE - told[boxes]
            state = state.index_add(0, boxes, self._heads["tell"](missing).to(state.dtype))
        state = state + layer.mlp(layer.post_attention_layernorm(state))
        return self._head(self._language.norm(state)).float(), looked[0, 0], told


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


def _normed(layer: Any, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    """States as the attention is given them: of all image tokens; of some other tokens; of some that answer."""
    device = layer.input_layernorm.weight.device
    seen, text, asking = [], [], []
    for number, sample in enumerate(samples):
        seen.append(layer.input_layernorm(sample.states[sample.tokens].float().to(device)))
        if number < FEW:
            other = torch.ones(len(sample.states), dtype=torch.bool)
            other[sample.tokens] = False
            text.append(layer.input_layernorm(sample.states[other].float().to(device)))
            asking.append(layer.input_layernorm(sample.states[sample.rows].float().to(device)))
    return torch.cat(seen), torch.cat(text), torch.cat(asking)


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
