"""What was found inside, as plain JSON values with the tokens shown: one form for the terminal, files and the studio.

Everywhere `ids` is what the model has read and the question is what it says next: to explain a token in the middle of
an answer, give the ids before it.  `target` is the token asked about; by default the likeliest one.
Shapes: R readings, T tokens, L layers, N heads, F neurons, V vocab.  p are probabilities, shares nats, logits as such.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from glasshouse.core.terminal import Terminal
from glasshouse.explain.attention import HeadScores, attention_patterns, head_scores
from glasshouse.explain.attribution import gradient_times_input, integrated_gradients
from glasshouse.explain.direct import direct_attribution
from glasshouse.explain.lens import logit_lens
from glasshouse.explain.neighbours import embedding_neighbours
from glasshouse.explain.passages import Passage, neuron_strength, top_passages
from glasshouse.explain.patching import SITES, patch
from glasshouse.explain.places import checked_head, checked_token
from glasshouse.explain.sae import SAEReport, SparseAutoencoder, residual_after
from glasshouse.explain.tuned_lens import TunedLens
from glasshouse.explain.windows import Windows
from glasshouse.model import Transformer
from glasshouse.tokenizer import Tokenizer

Json = dict[str, Any]
Method = Literal["integrated", "gradient"]


class Account:
    """Looks inside one model on behalf of whoever shows it.  Pure: nothing is kept between two questions but the head
    scores, which depend on the weights alone."""

    def __init__(self, model: Transformer, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._names = {id: name for name, id in tokenizer.special_ids.items()}
        self._scores: HeadScores | None = None

    def token(self, id: int) -> Json:
        """`text` for people (half a character is U+FFFD), `bytes` for who joins tokens; special ones have a name."""
        if id in self._names or id >= self.tokenizer.vocab_size:
            return {
                "id": id,
                "text": self._names.get(id, ""),
                "name": self._names.get(id, f"<unused {id}>"),
                "bytes": [],
            }
        raw = self.tokenizer.token_bytes(id)
        return {"id": id, "text": raw.decode("utf-8", "replace"), "name": None, "bytes": list(raw)}

    def tokens(self, ids: Sequence[int]) -> list[Json]:
        return [self.token(id) for id in ids]

    def target(self, ids: Sequence[int], target: int | None) -> int:
        """The token asked about: `target`, or what the model itself would say after `ids`."""
        if target is not None:
            return checked_token(self.model.config, target)
        return int(logit_lens(self.model, ids, [-1])[-1, 0].argmax())

    def next_tokens(self, ids: Sequence[int], k: int = 10) -> Json:
        """The likeliest next tokens."""
        return {"tokens": self._likeliest(logit_lens(self.model, ids, [-1])[-1, 0], k)}

    def lens(self, ids: Sequence[int], target: int | None = None, tuned: TunedLens | None = None, k: int = 5) -> Json:
        """What each layer would say, and how likely it finds the target.  `rank` counts from 1."""
        target = self.target(ids, target)
        logp_RV = logit_lens(self.model, ids, [-1], None if tuned is None else tuned.translators)[:, 0]
        rows = [
            {
                "layer": None if row == 0 else row - 1,
                "p_target": _probability(logp_V[target]),
                "rank": int((logp_V > logp_V[target]).sum()) + 1,
                "tokens": self._likeliest(logp_V, k),
            }
            for row, logp_V in enumerate(logp_RV)
        ]
        return {"target": self.token(target), "is_tuned": tuned is not None, "rows": rows}

    def heads(self) -> Json:
        """Each head's trade: previous token, duplicate token, induction; from 0 to 1, on random text written twice."""
        self._scores = scores = self._scores or head_scores(self.model)
        by_name = {"previous": scores.previous_LN, "duplicate": scores.duplicate_LN, "induction": scores.induction_LN}
        return {"period": scores.period, **{name: rounded(score_LN) for name, score_LN in by_name.items()}}

    def attention(self, ids: Sequence[int], layer: int, head: int) -> Json:
        """One head's pattern, row t: how position t looks at those up to it."""
        pattern_TS = attention_patterns(self.model, ids, layer)[0, checked_head(self.model.config, head)]
        return {
            "layer": layer,
            "head": head,
            "pattern": [rounded(row_S[: t + 1]) for t, row_S in enumerate(pattern_TS)],
        }

    def looks(self, ids: Sequence[int]) -> Json:
        """Where every head looks from the last token, [layer][head][position]."""
        return {"weights": rounded(attention_patterns(self.model, ids)[:, :, -1])}

    def attribution(
        self, ids: Sequence[int], target: int | None = None, method: Method = "integrated",
        on_pass: Callable[[int, int], None] = lambda n_done, n_total: None,
    ) -> Json:  # fmt: skip
        """The target's log-probability, shared out among the tokens read."""
        target = self.target(ids, target)
        found = (
            integrated_gradients(self.model, ids, target, on_pass=on_pass)
            if method == "integrated"
            else gradient_times_input(self.model, ids, target)
        )
        return {
            "target": self.token(target), "method": method, "shares": rounded(found.share_T), "logp": found.total,
            "baseline_logp": found.baseline, "gap": found.gap, "n_points": found.n_points,
        }  # fmt: skip

    def parts(self, ids: Sequence[int], target: int | None = None, other: int | None = None) -> Json:
        """The target's logit as an exact sum over embedding, heads and MLPs; with `other`, its lead over that."""
        target = self.target(ids, target)
        found = direct_attribution(self.model, ids, target, other)
        return {
            "target": self.token(target), "other": None if other is None else self.token(other),
            "logit": found.logit, "embed": found.embed, "heads": rounded(found.head_LN), "mlps": rounded(found.mlp_L),
            "sum": found.total,
        }  # fmt: skip

    def patching(
        self, ids: Sequence[int], other_ids: Sequence[int], target: int | None = None, other: int | None = None,
        sites: Sequence[str] = SITES,
        on_pass: Callable[[int, int], None] = lambda n_done, n_total: None,
    ) -> Json:  # fmt: skip
        """Layer x position: how much of the answer returns when one activation of `ids` is put into `other_ids`."""
        found = patch(self.model, ids, other_ids, target, other, sites=sites, on_pass=on_pass)
        return {
            "target": self.token(found.answer), "other": self.token(found.other),
            "tokens": self.tokens(ids), "other_tokens": self.tokens(other_ids),
            "lead": found.clean_lead, "other_lead": found.corrupted_lead,
            "effects": {site: rounded(effect_LT) for site, effect_LT in found.effect_LT.items()},
        }  # fmt: skip

    def neighbours(self, id: int, k: int = 10) -> Json:
        found = embedding_neighbours(self.model, id, k)
        return {"token": self.token(id), "neighbours": [{**self.token(i), "cosine": round(c, 4)} for i, c in found]}

    def neurons(
        self, ids: Sequence[int], target: int | None = None, windows: Windows | None = None, k: int = 8,
        terminal: Terminal | None = None,
    ) -> Json:  # fmt: skip
        """The neurons that wrote most of the target's logit, and the passages of a text on which each is strongest."""
        target = self.target(ids, target)
        neuron_LF = direct_attribution(self.model, ids, target).neuron_LF
        places = neuron_LF.flatten().abs().topk(min(k, neuron_LF.numel())).indices.tolist()
        found = [divmod(place, neuron_LF.shape[1]) for place in places]
        passages: dict[tuple[int, int], list[Passage]] = {}
        for layer in sorted({layer for layer, _ in found} if windows is not None else ()):
            chosen = [neuron for at, neuron in found if at == layer]
            assert windows is not None
            of = top_passages(windows, neuron_strength(self.model, layer, chosen), k=3, terminal=terminal)
            passages.update({(layer, neuron): listed for neuron, listed in zip(chosen, of)})
        return {
            "target": self.token(target),
            "neurons": [
                {"layer": layer, "neuron": neuron, "share": round(float(neuron_LF[layer, neuron]), 4),
                 "passages": [self.passage(p) for p in passages.get((layer, neuron), ())]}
                for layer, neuron in found
            ],
        }  # fmt: skip

    def features(
        self, ids: Sequence[int], sae: SparseAutoencoder, report: SAEReport, passages: Sequence[Sequence[Passage]]
    ) -> Json:
        """The dictionary features that make up the last token's residual stream after the dictionary's layer."""
        with torch.no_grad():
            strength_U = sae.encode(residual_after(self.model, sae.layer, torch.tensor([list(ids)]))[0, -1])
        active = strength_U.nonzero()[:, 0].tolist()
        active.sort(key=lambda u: -float(strength_U[u]))
        return {
            "layer": sae.layer, "report": report.to_json(),
            "features": [{"feature": u, "strength": round(float(strength_U[u]), 4),
                          "passages": [self.passage(p) for p in passages[u]]} for u in active],
        }  # fmt: skip

    def passage(self, passage: Passage) -> Json:
        return {"tokens": self.tokens(passage.ids), "at": passage.at, "strength": passage.strength}

    def _likeliest(self, logp_V: Tensor, k: int) -> list[Json]:
        logp, ids = logp_V.topk(min(k, len(logp_V)))
        return [{**self.token(id), "p": _probability(value)} for id, value in zip(ids.tolist(), logp)]


def rounded(values: Tensor) -> Any:
    """Nested lists with four decimals: what a page shows, and a fifth of the bytes."""
    return values.detach().cpu().double().round(decimals=4).tolist()


def _probability(logp: Tensor) -> float:
    return round(float(logp.exp()), 6)
