"""Tasks of lm-evaluation-harness on a Glasshouse checkpoint, in process.  The one file that imports lm_eval.

Texts are encoded and cut by the harness's own rules, so that results equal those of its `hf` model on the same
checkpoint, item by item; the engine computes them.  A prompt that is too long loses its beginning, as there.
Left out: its remote models and its command line (`glass serve` answers both).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glasshouse.core.errors import ConfigError, suggest
from glasshouse.core.extras import require
from glasshouse.core.records import Message
from glasshouse.infer import Engine, SamplingConfig, Tail, chat_ids

require("lm_eval", "eval", "running tasks of lm-evaluation-harness")

from lm_eval import simple_evaluate  # noqa: E402
from lm_eval.api.model import TemplateLM  # noqa: E402
from lm_eval.models.utils import normalize_gen_kwargs  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # noqa: E402

SETTINGS = {"until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k", "min_p", "seed"}


class GlasshouseLM(TemplateLM):  # type: ignore[misc]
    """The harness's model interface over an engine."""

    def __init__(self, engine: Engine, *, is_chat: bool = False) -> None:
        """`is_chat`: prompts are rendered by the chat template, and its marks in them are special tokens."""
        super().__init__()
        self.engine, self._tokenizer, self._is_chat = engine, engine.tokenizer, is_chat

    @property
    def eot_token_id(self) -> int:
        return self._tokenizer.end_of_text_id

    @property
    def prefix_token_id(self) -> int:
        return self.engine.prompt_ids("")[-1]

    @property
    def tokenizer_name(self) -> str:
        return self._tokenizer.hash[:16]

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        ids = self._tokenizer.encode_marked(string) if self._is_chat else self._tokenizer.encode(string)
        return ids if add_special_tokens is False else [*self._tokenizer.begin_ids, *ids]

    def apply_chat_template(self, chat_history: Sequence[dict[str, str]], add_generation_prompt: bool = True) -> str:
        if not add_generation_prompt:
            raise ConfigError("a chat that ends with the beginning of an answer (assistant prefill) is not supported")
        messages = [Message(turn["role"], turn["content"]) for turn in chat_history]  # type: ignore[arg-type]
        return self._tokenizer.decode(chat_ids(self._tokenizer, messages))

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **_options: Any,
    ) -> list[tuple[float, bool]]:
        tails = []
        for _texts, context, continuation in requests:
            ids = [*context, *continuation][-(self.engine.max_seq_len + 1) :]
            tails.append(Tail(tuple(ids), min(len(continuation), len(ids) - 1)))
        return [(score.logp_sum, score.is_greedy) for score in self.engine.score_tails(tails)]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        tails, owners = [], []
        for number, request in enumerate(requests):
            ids = self.tok_encode(request.args[0])
            for window in get_rolling_token_windows(ids, self.prefix_token_id, self.engine.max_seq_len, context_len=1):
                context, continuation = make_disjoint_window(window)
                tails.append(Tail((*context, *continuation), len(continuation)))
                owners.append(number)
        sums = [0.0] * len(requests)
        for owner, score in zip(owners, self.engine.score_tails(tails)):
            sums[owner] += score.logp_sum
        return sums

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        prompts, settings = [], []
        for request in requests:
            context, given = request.args
            sampling = _sampling(given)
            room = max(1, self.engine.max_seq_len - sampling.max_tokens)
            prompts.append((self.tok_encode(context) or self.engine.prompt_ids(""))[-room:])
            settings.append(sampling)
        return [completion.text for completion in self.engine.generate(prompts, settings)]


def _sampling(options: dict[str, Any]) -> SamplingConfig:
    given = normalize_gen_kwargs(options)
    if unknown := sorted(set(given) - SETTINGS):
        raise ConfigError(f"generation settings of this task that cannot be followed: {', '.join(unknown)}")
    values = {name: given[name] for name in ("top_p", "top_k", "min_p", "seed") if given.get(name) is not None}
    return SamplingConfig.of(
        max_tokens=given["max_gen_toks"], stop=tuple(filter(None, given["until"])),
        temperature=given.get("temperature", 1.0) if given["do_sample"] else 0.0,
        **(values if given["do_sample"] else {}),
    )  # fmt: skip


def run_lm_eval(
    engine: Engine, tasks: Sequence[str], *, limit: int | None = None, folder: Path | None = None,
    n_examples: int | None = None, is_chat: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Results of the harness, as it gives them, with every sample.  `folder` holds task files of one's own (YAML);
    with it the harness's own thousands are not read, which takes 8 s."""
    manager = TaskManager(include_path=None if folder is None else str(folder), include_defaults=folder is None)
    for name in tasks:
        if name not in manager.all_tasks:
            raise ConfigError(f"lm-evaluation-harness has no task {name!r}.{suggest(name, manager.all_tasks)}")
    results: dict[str, Any] | None = simple_evaluate(
        model=GlasshouseLM(engine, is_chat=is_chat), tasks=list(tasks), limit=limit, task_manager=manager,
        log_samples=True, num_fewshot=n_examples, bootstrap_iters=1000, apply_chat_template=is_chat,
    )  # fmt: skip
    assert results is not None  # None only on other ranks of several processes
    return results
