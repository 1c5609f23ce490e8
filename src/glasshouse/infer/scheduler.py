"""Which sequences take part in the next step, with how many tokens, and in which blocks.

Each step has a budget of tokens.  Sequences that only need their next token come first, so that nobody who is being
answered waits for another one's prompt; then prompts go on in pieces, oldest first; then new sequences join.
Where memory is short the youngest running sequence gives its blocks back and starts again later (its prompt and what
it has said so far are computed anew, or found where nothing has overwritten them).  The oldest is never sent back by a
younger one, so every sequence ends.
"""

from collections import deque
from collections.abc import Iterator

from glasshouse.infer.blocks import BlockPool
from glasshouse.infer.sequence import Sequence


class Scheduler:
    """Sequences waiting and running, over one pool of blocks."""

    def __init__(self, pool: BlockPool, block_size: int, *, max_running: int, max_step_tokens: int) -> None:
        self.pool, self.block_size = pool, block_size
        self.max_running, self.max_step_tokens = max_running, max_step_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # oldest first
        self.n_preemptions = self.n_cached_tokens = 0

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget it, wherever it is; its blocks are free at once."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self._release(sequence)

    def plan(self) -> dict[Sequence, int]:
        """How many tokens of which sequences come next, drafts included.  Their blocks are there."""
        plan: dict[Sequence, int] = {}
        budget = self.max_step_tokens
        n_preemptions = self.n_preemptions
        for sequence in self._running_in_turn():
            if sequence in self.running and (n_tokens := self._give(sequence, budget, plan)):
                plan[sequence] = n_tokens
                budget -= n_tokens
        for sequence, n_tokens in plan.items():
            self._name_blocks(sequence, n_tokens)
        if n_preemptions == self.n_preemptions:  # who was sent back must not return in the same step
            self._admit(plan, budget)
        return plan

    def _running_in_turn(self) -> Iterator[Sequence]:
        running = list(self.running)
        yield from (s for s in running if s.n_pending == 1)
        yield from (s for s in running if s.n_pending != 1)

    def _give(self, sequence: Sequence, budget: int, plan: dict[Sequence, int]) -> int:
        """Blocks for as many of its tokens as the budget allows; 0 where it was sent back itself."""
        n_tokens = sequence.n_next(budget)
        n_drafts = min(len(sequence.drafts), budget - n_tokens)
        if n_tokens < sequence.n_pending or self._n_missing(sequence, n_tokens + n_drafts) > self.pool.n_free:
            n_drafts = 0  # a guess is not worth anybody's memory
        del sequence.drafts[n_drafts:]
        if not n_tokens:
            return 0
        while self._n_missing(sequence, n_tokens) > self.pool.n_free:
            youngest = self.running[-1]
            plan.pop(youngest, None)
            self._send_back(youngest)
            if youngest is sequence:
                return 0
        self._take(sequence, n_tokens + n_drafts)
        return n_tokens + n_drafts

    def _admit(self, plan: dict[Sequence, int], budget: int) -> None:
        while self.waiting and budget > 0 and len(self.running) < self.max_running:
            sequence = self.waiting[0]
            shared = self._find_beginning(sequence)
            n_blocks = -(-len(sequence.tokens) // self.block_size) - len(shared)
            if n_blocks + sum(map(self.pool.is_free, shared)) > self.pool.n_free:
                return  # the first in the queue keeps its turn
            self.waiting.popleft()
            for block in shared:
                self.pool.share(block)
            sequence.blocks = list(shared)
            sequence.n_named = len(shared)
            sequence.n_computed = len(shared) * self.block_size
            if not sequence.n_preemptions:  # what it computed itself is no gift
                sequence.n_cached_tokens = sequence.n_computed
                self.n_cached_tokens += sequence.n_computed
            sequence.drafts.clear()
            n_tokens = sequence.n_next(budget)
            self._take(sequence, n_tokens)
            self.running.append(sequence)
            plan[sequence] = n_tokens
            budget -= n_tokens
            self._name_blocks(sequence, n_tokens)

    def _find_beginning(self, sequence: Sequence) -> list[int]:
        """Blocks that already hold, or will in this very step, its first tokens; its last one is always computed.
        One that is read for its own sake needs all of them computed."""
        if sequence.reading is not None:
            return []
        n_full = (len(sequence.tokens) - 1) // self.block_size
        return self.pool.find(sequence.block_names(n_full, self.block_size))

    def _name_blocks(self, sequence: Sequence, n_tokens: int) -> None:
        """Let others find the blocks that this step fills (a reading's come in a step of their own)."""
        if sequence.reading is not None:
            return
        n_full = min(sequence.n_computed + n_tokens, len(sequence.tokens)) // self.block_size
        if n_full > sequence.n_named:
            for at, name in enumerate(sequence.block_names(n_full, self.block_size)):
                if at >= sequence.n_named:
                    self.pool.name(sequence.blocks[at], name)
            sequence.n_named = n_full

    def _n_missing(self, sequence: Sequence, n_tokens: int) -> int:
        return max(0, -(-(sequence.n_computed + n_tokens) // self.block_size) - len(sequence.blocks))

    def _take(self, sequence: Sequence, n_tokens: int) -> None:
        sequence.blocks += [self.pool.take() for _ in range(self._n_missing(sequence, n_tokens))]

    def _send_back(self, sequence: Sequence) -> None:
        self.n_preemptions += 1
        sequence.n_preemptions += 1
        self.running.remove(sequence)
        self._release(sequence)
        self.waiting.appendleft(sequence)

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.drafts.clear()
        sequence.n_computed = sequence.n_named = 0
