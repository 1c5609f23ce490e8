"""B requests decoded together over one key/value cache: prompts in, one token for each live row a step.

Shapes: B requests of the batch, R rows still in the cache, T prompt tokens, D model, V vocab.  Log-probabilities: nats.
Prompts are right padded; slot equals position in the cache, so a row's own tokens overwrite the padding before anything
attends to it.  What all prompts begin with is computed once.  Only the last position of a row meets the head.
Rows that ended leave the cache when they are a quarter of it: each removal copies the cache, so it is done rarely.
Left out: new requests joining a running batch, paged memory (the serving engine's work).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glasshouse.core.errors import CheckpointError
from glasshouse.infer.sampling import Sampler, SamplingConfig
from glasshouse.model import KVCache, ModelConfig, Transformer

MAX_LIVE_SHARE = 0.75  # rows are removed once this share or less is still going
N_SPARE = 128  # cache slots beyond the prompt to begin with; it grows by doubling


@dataclass(frozen=True, slots=True)
class Request:
    """A checked prompt with its settings.  `limit` is max_tokens, cut to what the context has room for."""

    prompt: tuple[int, ...]
    sampling: SamplingConfig
    limit: int

    @property
    def n_slots(self) -> int:
        """Cache slots at most; the last token is never fed back, so it needs none."""
        return len(self.prompt) + self.limit - 1


class BatchDecoder:
    """State of one batch.  `step` until nothing `is_live`; results are in `ids_BT`, `logps_BT`, `n_tokens_B`."""

    def __init__(self, model: Transformer, requests: Sequence[Request], end_ids: Sequence[int], n_ids: int) -> None:
        """`n_ids` is how many of the model's ids have a token: vocabularies are often padded beyond."""
        self._model = model
        self._head_VD = model.head_weight_VD[:n_ids].detach()
        device = self._head_VD.device
        n_tokens = max(r.limit for r in requests)
        self.ids_BT = torch.zeros(len(requests), n_tokens, dtype=torch.long, device=device)
        self.logps_BT = torch.zeros(len(requests), n_tokens, device=device)
        self.n_tokens_B = torch.zeros(len(requests), dtype=torch.long, device=device)
        self._end_ids = torch.tensor(list(end_ids), dtype=torch.long, device=device)
        prompts = [r.prompt for r in requests]
        self._sampler = Sampler([r.sampling for r in requests], prompts, len(self._head_VD), n_tokens, device)
        self._request_R = torch.arange(len(requests), device=device)
        self._is_live_R = torch.ones(len(requests), dtype=torch.bool, device=device)
        self._limit_R = torch.tensor([r.limit for r in requests], device=device)
        self._position_R = torch.tensor([len(p) for p in prompts], device=device)  # of the next token to be fed
        self._n_slots = max(r.n_slots for r in requests)
        self._index = 0  # of the next token in every answer
        self._has_one_length = len({len(p) for p in prompts}) == 1
        self._cache, self._hidden_RD = prefill(
            model, prompts, min(self._n_slots, int(self._position_R.max()) + N_SPARE)
        )

    @property
    def is_live(self) -> bool:
        return bool(self._is_live_R.any())

    @torch.no_grad()
    def step(self) -> Tensor:
        """One more token for every live row; returns the live requests' numbers, before any of them ended here."""
        if self._index > 0:
            self._drop_ended()
            self._hidden_RD = self._feed(self.ids_BT[self._request_R, self._index - 1])
        logits_RV = (self._hidden_RD @ self._head_VD.T).float()
        ids_R = self._sampler.choose(logits_RV, self._index)
        logp_R = logits_RV.gather(1, ids_R[:, None]).squeeze(1) - logits_RV.logsumexp(dim=1)
        live_B = self._request_R[self._is_live_R]
        self._record(ids_R, logp_R)
        return live_B

    def stop(self, requests: Sequence[int]) -> None:
        """End these requests from outside (a stop string was completed)."""
        is_stopped_R = torch.isin(self._request_R, torch.tensor(list(requests), device=self._request_R.device))
        self._is_live_R &= ~is_stopped_R

    def _record(self, ids_R: Tensor, logp_R: Tensor) -> None:
        if not bool(torch.isfinite(logp_R[self._is_live_R]).all()):
            raise CheckpointError(
                "the model's output is not a number: its weights are damaged or its training diverged. "
                "Go back to an earlier checkpoint."
            )
        self.ids_BT[self._request_R, self._index] = ids_R
        self.logps_BT[self._request_R, self._index] = logp_R
        self._index += 1
        self.n_tokens_B[self._request_R[self._is_live_R]] = self._index
        self._is_live_R &= ~torch.isin(ids_R, self._end_ids) & (self._index < self._limit_R)

    def _drop_ended(self) -> None:
        n_live = int(self._is_live_R.sum())
        if n_live > MAX_LIVE_SHARE * len(self._is_live_R):
            return
        rows = self._is_live_R.nonzero().squeeze(1)
        self._cache.select(rows)
        self._sampler.select(rows)
        self._request_R, self._limit_R = self._request_R[rows], self._limit_R[rows]
        self._position_R, self._is_live_R = self._position_R[rows], self._is_live_R[rows]

    def _feed(self, ids_R: Tensor) -> Tensor:
        # Ended rows go on until they are dropped; clamping keeps them inside the context.
        position_R1 = self._position_R.clamp(max=self._n_slots - 1)[:, None]
        self._position_R = self._position_R + 1
        # Rows of one length all write the next slot, which is cheaper than scattering (None means that).
        return self._model.hidden(
            ids_R[:, None], position_BT=None if self._has_one_length else position_R1, cache=self._cache
        )[:, 0]


@torch.no_grad()
def prefill(model: Transformer, prompts: Sequence[tuple[int, ...]], n_slots: int) -> tuple[KVCache, Tensor]:
    """A cache that holds the prompts, and the last position's hidden state of each: `hidden_BD`."""
    device, n_rows = model.device, len(prompts)
    n_shared = common_prefix(prompts) if n_rows > 1 else 0
    if n_shared:
        cache = model.new_cache(1, n_shared)
        model.hidden(_padded(prompts[:1])[:, :n_shared].to(device), cache=cache)
        cache.select(torch.zeros(n_rows, dtype=torch.long))  # while it is small: this copies every slot
        cache.reserve(n_slots)
    else:
        cache = model.new_cache(n_rows, n_slots)
    hidden_BTD = model.hidden(_padded([p[n_shared:] for p in prompts]).to(device), cache=cache)
    last_B = torch.tensor([len(p) - n_shared - 1 for p in prompts], device=device)
    return cache, hidden_BTD[torch.arange(n_rows, device=device), last_B]


def common_prefix(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many first tokens all prompts share, leaving at least one token of each."""
    first, last = min(prompts), max(prompts)  # all others lie between these two in dictionary order
    shortest = min(map(len, prompts))
    n = 0
    while n < shortest - 1 and first[n] == last[n]:
        n += 1
    return n


def _padded(prompts: Sequence[Sequence[int]]) -> Tensor:
    longest = max(map(len, prompts))
    return torch.tensor([[*p, *[0] * (longest - len(p))] for p in prompts])


def bytes_per_row(config: ModelConfig, n_prompt: int, n_slots: int) -> int:
    """Upper estimate of the memory one row needs: its cache, the widest layer over its prompt, its logits.

    Counted as fp32.  The prompt's attention mask and scores count once; the logits four times (shaped, sorted, summed).
    """
    cache = 2 * config.n_layers * config.n_kv_heads * config.d_head * n_slots
    widest = n_prompt * (3 * config.d_ff + 6 * config.d_model + config.n_heads * n_slots)
    return 4 * (cache + widest + 4 * config.vocab_size)


def batches(requests: Sequence[Request], config: ModelConfig, max_rows: int, max_bytes: int) -> list[list[int]]:
    """Request numbers in batches of like length, the longest first, each within rows and bytes (at least one row)."""
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].prompt), -requests[i].n_slots))
    result: list[list[int]] = []
    n_prompt = n_slots = 0
    for number in order:
        grown = max(n_prompt, len(requests[number].prompt)), max(n_slots, requests[number].n_slots)
        rows = len(result[-1]) + 1 if result else 1
        if result and rows <= max_rows and rows * bytes_per_row(config, *grown) <= max_bytes:
            result[-1].append(number)
        else:
            result.append([number])
            grown = len(requests[number].prompt), requests[number].n_slots
        n_prompt, n_slots = grown
    return result
