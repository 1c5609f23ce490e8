"""Many answers by one loop: draw a token for each, let those that have ended go, read the others' tokens, again.

Shapes: B answers, A of them unfinished, T tokens, P blocks, V vocab.  Units: nats.
`NativeRunner.decode` is this loop in C++, with the same draw.
"""

import numpy as np
import torch
from torch import Tensor

from glasshouse.infer.runner import Decoding, Runner, StepBatch
from glasshouse.infer.sampling import LogProbabilities, draw


def decode(runner: Runner, logits_BV: Tensor, decoding: Decoding) -> None:
    """Fill the results.  `logits_BV`: those behind the prompts, from which the first tokens are drawn."""
    d, logits_AV, active_A = decoding, logits_BV, np.arange(len(logits_BV))
    divisor, ends = torch.tensor(d.temperature, device=logits_BV.device), np.array(sorted(d.end_ids), np.int64)
    for t in range(d.ids_BT.shape[1]):
        scaled_AV = logits_AV[:, : d.n_ids] / divisor
        ids = draw(scaled_AV, torch.from_numpy(d.uniform_BT[active_A, t]).to(scaled_AV.device))
        logp_A = LogProbabilities(scaled_AV).of(ids, list(range(len(ids))))
        ids_A = ids.cpu().numpy()
        d.ids_BT[active_A, t], d.logp_BT[active_A, t] = ids_A, logp_A.cpu().numpy()
        d.n_tokens_B[active_A] += 1
        d.is_ended_B[active_A] = np.isin(ids_A, ends)
        goes_on_A = ~d.is_ended_B[active_A] & (t + 1 < d.limit_B[active_A])
        active_A, ids_A = active_A[goes_on_A], ids_A[goes_on_A]
        if not len(active_A):
            break
        logits_AV = runner.run(_next_step(ids_A, d.start_B[active_A] + t, d.table_BP[active_A]))


def _next_step(ids_A: np.ndarray, position_A: np.ndarray, table_AP: np.ndarray) -> StepBatch:
    each_A = torch.arange(len(ids_A))
    return StepBatch(
        torch.from_numpy(ids_A), torch.from_numpy(position_A), each_A, torch.from_numpy(table_AP),
        torch.from_numpy(position_A + 1), each_A,
    )  # fmt: skip
