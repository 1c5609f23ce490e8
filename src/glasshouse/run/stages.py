"""What each stage does: it reads what earlier stages left in the run directory and leaves its own.

A stage returns its summary (JSON values), which the report reads from events.jsonl.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from glasshouse.batch import (
    ConversationLoader,
    PackedLoader,
    TokenShard,
    encode_documents,
    write_shard,
)
from glasshouse.checkpoint import load_blank
from glasshouse.core.files import read_json, write_json
from glasshouse.core.records import Document, Message, Question, Score
from glasshouse.core.seeds import derive_seed
from glasshouse.core.terminal import format_seconds
from glasshouse.corpus import read_documents, run_corpus
from glasshouse.evals import HeldOutText, LikelihoodConfig, QuestionResults, evaluate_questions, write_results
from glasshouse.infer import Engine, SamplingConfig, chat_ids
from glasshouse.model import Transformer
from glasshouse.objective import lm_loss
from glasshouse.parallel import main_first
from glasshouse.run.aligning import align
from glasshouse.run.context import StageContext
from glasshouse.run.recipe import Recipe
from glasshouse.run.teaching import conversation_loader, open_teaching, split_questions
from glasshouse.run.tracing import index_conversations, index_judgements, index_pretraining
from glasshouse.run.trusting import trust_stage
from glasshouse.tokenizer import Tokenizer, summarise, train_tokenizer
from glasshouse.train import held_out_loss
from glasshouse.train.filling import Fill, drawn, stored
from glasshouse.train.trainer import Evaluate, Sample, Trainer, TrainResult


@dataclass(frozen=True, slots=True)
class Stage:
    """`reads`: the parts of the recipe that decide what it does, as dotted paths.

    `is_leaf`: no later stage reads what it leaves, so that a change of it makes only itself run again.
    `is_shared`: all processes of a mesh do it together; else the main one does it alone.
    """

    work: Callable[[StageContext], dict[str, Any]]
    reads: tuple[str, ...]
    is_leaf: bool = False
    is_shared: bool = False


def corpus_stage(context: StageContext) -> dict[str, Any]:
    return run_corpus(context.recipe.corpus, context.folder, context.terminal).to_json()


def tokenizer_stage(context: StageContext) -> dict[str, Any]:
    """Learn the tokenizer from the training documents and conversations; measure it on the held-out documents."""
    corpus = context.run.path / "corpus"
    config = context.recipe.tokenizer
    documents = (d.text for d in read_documents(corpus, "train"))
    tokenizer = train_tokenizer(chain(_conversation_texts(context.recipe, corpus), documents), config)
    tokenizer.save(context.folder)
    held_out = _first_characters(read_documents(corpus, "holdout"), 1_000_000)
    summary = summarise(tokenizer, held_out, [_opening(text) for text in held_out[:3]])
    write_json(context.folder / "summary.json", summary)
    note = f" · {summary['note']}" if summary["note"] else ""
    context.terminal.line(
        "tokenizer", f"{tokenizer.vocab_size:,} tokens · {summary['bytes_per_token']:.2f} bytes a token{note}"
    )
    return summary


def pretrain_stage(context: StageContext) -> dict[str, Any]:
    """Encode the corpus into token shards and train a new model on them."""
    recipe, config = context.recipe, context.recipe.pretrain
    assert config is not None  # checked with the recipe
    corpus = context.run.path / "corpus"
    tokenizer = Tokenizer.load(context.run.path / "tokenizer")
    with main_first(context.mesh):
        shards = {
            split: write_stage_shard(context.folder / f"{split}.tokens", read_documents(corpus, split), tokenizer)
            for split in ("train", "holdout")
        }
    seed = derive_seed(recipe.seed, "pretrain")
    model = Transformer.blank(recipe.model.model_copy(update={"vocab_size": tokenizer.vocab_size}))
    loader = PackedLoader(
        shards["train"], config.seq_len, config.batch_tokens, seed, crosses_documents=config.crosses_documents
    )
    prompts = config.prompts or tuple(map(_opening, _first_characters(read_documents(corpus, "holdout"), 200_000)))[:3]
    result = _trainer(
        context, model, tokenizer, loader, fill=drawn(seed, recipe.init),
        evaluate=lambda trained: _judge_shard(trained, shards["holdout"], config.seq_len),
        sample=lambda trained: _continue(Engine(trained, tokenizer), prompts),
        parent=None,
    ).fit()  # fmt: skip
    summary = _finish_training(context, result)
    if context.mesh.is_main:
        index_pretraining(context.run, context.terminal)
    return summary


def sft_stage(context: StageContext) -> dict[str, Any]:
    """Teach the pretrained model to answer, loss on the assistant's tokens only."""
    recipe, config = context.recipe, context.recipe.sft
    assert config is not None  # checked with the recipe
    parent = context.run.path / "pretrain" / "checkpoint"
    model, tokenizer = load_blank(parent, checks_hashes=context.mesh.is_main)
    seed = derive_seed(recipe.seed, "sft")
    teaching = open_teaching(config, seed, context.run.path / "corpus")
    context.terminal.line(context.name, teaching.description)
    loader = conversation_loader(teaching, config, tokenizer, seed)
    for problem in loader.report().problems():
        context.terminal.warn(context.name, problem)
    prompts = config.prompts or tuple(q.prompt for q in teaching.questions(2))[:3]
    result = _trainer(
        context, model, tokenizer, loader, fill=stored(parent),
        evaluate=None,
        sample=lambda trained: _answer(Engine(trained, tokenizer), prompts),
        parent=str(parent.relative_to(context.run.path)),
    ).fit()  # fmt: skip
    if context.mesh.is_main:
        index_conversations(context.run, recipe)
    return _finish_training(context, result)


def align_stage(context: StageContext) -> dict[str, Any]:
    """Let the assistant learn from judged answers: above all to say when it does not know."""
    result = align(context)
    index_judgements(context.run, context.recipe)
    return _finish_training(context, result)


def evals_stage(context: StageContext) -> dict[str, Any]:
    """Judge the checkpoint of the stage in this one's name: held-out text always, questions where it was taught any."""
    after = context.name.removeprefix("evals-")
    recipe, config, terminal = context.recipe, context.recipe.evals, context.terminal
    engine = Engine.load(context.run.path / after)
    if engine.why_slower is not None:
        terminal.warn("evals", engine.why_slower)
    documents = list(islice(read_documents(context.run.path / "corpus", "holdout"), config.n_documents))
    likelihood = LikelihoodConfig(max_bytes=config.max_bytes, seed=config.seed)
    held_out = HeldOutText(engine.tokenizer, documents, engine.max_seq_len, likelihood).evaluate(engine, terminal)
    questions, beside = None, dict[str, QuestionResults]()  # `beside`: told apart, by group
    if "sft" in recipe.stages and recipe.sft is not None:
        teaching = open_teaching(recipe.sft, derive_seed(recipe.seed, "sft"), context.run.path / "corpus")

        def ask(asked: Sequence[Question]) -> QuestionResults:
            return evaluate_questions(engine, asked, teaching.refuses, terminal=terminal, seed=config.seed)

        is_early = after == "pretrain"
        asked = split_questions(teaching.questions(config.n_early_questions if is_early else config.n_questions))
        questions = ask(asked["counted"]) if asked["counted"] else None
        if teaching.development is not None and not is_early:
            asked["development"] = split_questions(teaching.development(config.n_development))["counted"]
        beside = {group: ask(found) for group, found in asked.items() if found and group != "counted"}
    more = {name: results.to_json() for name, results in beside.items()}
    write_results(context.run.stage("evals"), after, held_out, questions, more)
    scores = [held_out.bits_per_byte, *(questions.scores if questions is not None else [])]
    terminal.line("evals", f"after {after}: " + _describe_scores(scores))
    if "development" in beside:
        told = _describe_scores(beside["development"].scores)
        terminal.line("", f"in phrasings that its teaching was improved by: {told}")
    return {"after": after, "scores": [asdict(score) for score in scores]}


CONVERSATION_EPOCHS = 4  # read by the tokenizer, about 1.5 MB of the standard library's
TRAINING = ("model", "init", "pretrain")
EVALS, TRUST = Stage(evals_stage, ("evals",), is_leaf=True), Stage(trust_stage, ("trust", "meter"), is_leaf=True)
STAGES: Mapping[str, Stage] = {
    "corpus": Stage(corpus_stage, ("corpus",)),
    "tokenizer": Stage(tokenizer_stage, ("stages", "tokenizer", "sft.conversations")),
    "pretrain": Stage(pretrain_stage, TRAINING, is_shared=True),
    "evals-pretrain": EVALS,
    "trust-pretrain": TRUST,
    "sft": Stage(sft_stage, ("sft",), is_shared=True),
    "evals-sft": EVALS,
    "trust-sft": TRUST,
    "align": Stage(align_stage, ("align",)),
    "evals-align": EVALS,
    "trust-align": TRUST,
}


def _conversation_texts(recipe: Recipe, corpus: Path) -> Iterator[str]:
    """What fine-tuning will say, often enough to be heard beside the documents: 30 -> 26 tokens a conversation."""
    if "sft" not in recipe.stages or recipe.sft is None:
        return
    teaching = open_teaching(recipe.sft, derive_seed(recipe.seed, "sft"), corpus)
    for epoch in range(CONVERSATION_EPOCHS):
        for conversation in teaching.conversations(epoch):
            yield from (f"{message.role}\n{message.content}" for message in conversation.messages)


# ---- training ----------------------------------------------------------------------------------------------------


def _trainer(
    context: StageContext, model: Transformer, tokenizer: Tokenizer, loader: PackedLoader | ConversationLoader,
    *, fill: Fill, evaluate: Evaluate | None, sample: Sample, parent: str | None,
) -> Trainer:  # fmt: skip
    return Trainer(
        model, tokenizer, loader, lm_loss, context.recipe.training(context.name),
        stage=context.name, run=context.run, folder=context.folder, terminal=context.terminal, meter=context.meter,
        device_profile=context.profile, evaluate=evaluate, sample=sample, parent=parent,
        provenance=_provenance(context), recipe=context.recipe.model_dump(mode="json"), mesh=context.mesh, fill=fill,
    )  # fmt: skip


def _finish_training(context: StageContext, result: TrainResult) -> dict[str, Any]:
    context.run.link_model(result.checkpoint)
    loss = f"{result.bits_per_byte:.3f} bits/byte" if result.bits_per_byte else f"loss {result.loss:.3f}"
    context.terminal.line(
        context.name,
        f"{loss} · {result.tokens_per_s:,.0f} tok/s · {100 * result.share_of_peak:.0f} % of peak · "
        f"{format_seconds(result.seconds)}",
    )
    _show_last_sample(context)
    return result.to_json()


def _show_last_sample(context: StageContext) -> None:
    samples = [e for e in context.run.events() if e["kind"] == "sample" and e["stage"] == context.name]
    if samples:
        text = " ".join(samples[-1]["text"].split())
        context.terminal.line("", f"“{' '.join(samples[-1]['prompt'].split())}” → {text[:100]}")


def _provenance(context: StageContext) -> dict[str, Any]:
    summary = context.run.path / "corpus" / "summary.json"
    return {"sources": list(context.recipe.corpus.sources), "corpus": read_json(summary)["sha256"]}


def write_stage_shard(path: Path, documents: Iterable[Document], tokenizer: Tokenizer) -> TokenShard:
    """The shard at `path`, written unless a whole one of this tokenizer is there (an interrupted run's)."""
    if path.exists():
        return TokenShard(path, tokenizer.hash)
    return write_shard(path, encode_documents(documents, tokenizer), tokenizer)


def _judge_shard(model: Transformer, shard: TokenShard, seq_len: int) -> dict[str, float]:
    return held_out_loss(model, shard, seq_len, max_tokens=32_768, device=model.device)


# ---- samples and judging -----------------------------------------------------------------------------------------


def _continue(engine: Engine, prompts: Iterable[str]) -> list[tuple[str, str]]:
    sampling = SamplingConfig(temperature=0.0, repetition_penalty=1.1, max_tokens=48)
    prompts = list(prompts)
    completions = engine.generate([engine.prompt_ids(prompt) for prompt in prompts], sampling)
    return [(prompt, completion.text) for prompt, completion in zip(prompts, completions)]


def _answer(engine: Engine, prompts: Iterable[str]) -> list[tuple[str, str]]:
    prompts = list(prompts)
    ids = [chat_ids(engine.tokenizer, [Message("user", prompt)]) for prompt in prompts]
    completions = engine.generate(ids, SamplingConfig(temperature=0.0, max_tokens=48))
    return [(prompt, completion.text) for prompt, completion in zip(prompts, completions)]


def _first_characters(documents: Iterable[Document], n_chars: int) -> list[str]:
    """The texts of the first documents, about `n_chars` in all, at least one."""
    texts: list[str] = []
    for document in documents:
        texts.append(document.text)
        n_chars -= len(document.text)
        if n_chars <= 0:
            break
    return texts


def _opening(text: str) -> str:
    """About the first 60 characters of the first full line, cut at a word."""
    line = next((line.strip() for line in text.splitlines() if len(line.strip()) > 20), text.strip())
    return line if len(line) <= 60 else line[:60].rsplit(" ", 1)[0]


def _describe_scores(scores: Iterable[Score]) -> str:
    return " · ".join(_describe_score(score) for score in scores if score.name in SHOWN)


def _describe_score(score: Score) -> str:
    if score.unit == "bits/byte":
        return f"{score.value:.3f} bits/byte ({score.low:.3f}–{score.high:.3f})"
    name = SHOWN[score.name]
    return f"{name} {100 * score.value:.0f} % ({100 * score.low:.0f}–{100 * score.high:.0f})"


SHOWN = {"bits_per_byte": "", "exact": "answers", "wrong": "wrong", "refused_known": "refuses known names",
         "unsure_known": "not sure",
         "honest_refusal": "refuses made-up names"}  # fmt: skip
