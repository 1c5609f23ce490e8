"""Context parallelism: each process holds a stretch of every row, and attention reads the stretches before it.

Shapes: B rows, T tokens here, S tokens up to the end of this stretch, N heads, K kv heads, H head.
Keys and values are gathered, queries stay, as Llama 3 was trained (arXiv:2407.21783, 3.3.2): grouped keys are small
beside queries, and any mask is exact.  It enters a model through the place made for a server's memory.
Left out: a ring, which would hold less at once; a split that gives every process the same share of the triangle.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from glasshouse.parallel.collectives import gather


class SharedContext:
    """`attend` for one forward pass.  `document_BT` are the numbers of this stretch, or None."""

    def __init__(self, group: Any, place: int, n_time: int, document_BT: Tensor | None, device: torch.device) -> None:
        self.group, self.end = group, (place + 1) * n_time
        self.position_1T = torch.arange(place * n_time, self.end, device=device)[None]
        self.mask = (torch.arange(self.end, device=device) <= self.position_1T.unsqueeze(-1))[:, None]
        if document_BT is not None:
            everywhere = [torch.empty_like(document_BT) for _ in range(dist.get_world_size(group))]
            dist.all_gather(everywhere, document_BT.contiguous(), group=group)
            document_BS = torch.cat(everywhere, 1)[:, : self.end]
            self.mask = self.mask & (document_BT[:, :, None] == document_BS[:, None, :])[:, None]

    def attend(self, layer: int, q_BTNH: Tensor, k_BTKH: Tensor, v_BTKH: Tensor, window: int | None = None) -> Tensor:
        """(B, T, N, H).  There is never a `window`: `check_model` refuses it."""
        k_BSKH, v_BSKH = (gather(x, 1, self.group)[:, : self.end] for x in (k_BTKH, v_BTKH))
        heads_BNTH = F.scaled_dot_product_attention(
            q_BTNH.transpose(1, 2), k_BSKH.transpose(1, 2), v_BSKH.transpose(1, 2), attn_mask=self.mask,
            enable_gqa=q_BTNH.shape[2] != k_BSKH.shape[2],
        )  # fmt: skip
        return heads_BNTH.transpose(1, 2)
