"""Attention by blocks equals attention by masks, in its forward pass (a CPU has no other)."""

import pytest
import torch

from glasshouse.model.attention import attend, document_blocks, document_mask


@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_blocks_of_documents_equal_their_mask(n_kv_heads):
    g = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(2, n, 200, 16, generator=g) for n in (4, n_kv_heads, n_kv_heads))
    document_BT = (torch.rand(2, 200, generator=g) < 0.03).cumsum(1)
    with torch.no_grad():
        by_blocks = attend(q, k, v, document_blocks(document_BT))
        torch.testing.assert_close(by_blocks, attend(q, k, v, document_mask(document_BT)), rtol=1e-5, atol=1e-6)


def test_most_blocks_of_many_documents_are_never_read():
    document_BT = (torch.arange(2048) // 128)[None]
    assert document_blocks(document_BT).sparsity() == pytest.approx(100 * (1 - 1 / 16), abs=0.1)


def test_the_type_is_that_of_the_values():
    q, v = torch.randn(1, 2, 8, 16), torch.randn(1, 2, 8, 16, dtype=torch.bfloat16)
    assert attend(q, q, v, None).dtype == torch.bfloat16
