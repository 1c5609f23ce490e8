"""What `glass explain` does: ask `explain.Account`, then print its answers as tables and shaded maps, or as JSON.

Model output is untrusted text: it is shown with control characters replaced, and never parsed as markup.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from glasshouse.cli.talk import printable
from glasshouse.core.config import parse_config
from glasshouse.core.environment import default_device, start_torch
from glasshouse.core.errors import ConfigError
from glasshouse.core.records import Message
from glasshouse.core.terminal import Terminal

MAX_WINDOW = 256  # tokens of a passage's window, where the model's context is longer
SITE_NAMES = {"resid_pre": "residual stream before each layer", "attn_out": "attention", "mlp_out": "MLP"}
SHADES = " ░▒▓█"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is asked for; nothing: the alternatives, the lens and the attribution."""

    lens: bool
    attention: bool
    head: str | None
    attribution: bool
    patch: str | None
    neurons: bool
    neighbours: bool
    sae: int | None

    @property
    def is_empty(self) -> bool:
        named = (self.head, self.patch, self.sae)
        flags = (self.lens, self.attention, self.attribution, self.neurons, self.neighbours)
        return not any(flags) and all(value is None for value in named)


def explain(
    path: Path, prompt: str, said: str, is_chat: bool, targets: tuple[str | None, str | None], choice: Choice,
    text: Path | None, is_json: bool,
) -> None:  # fmt: skip
    """Answer everything that is asked for, then print it in one order."""
    from glasshouse.explain import Account, load_sae, load_tuned_lens

    folder, model, tokenizer = _open(path)
    account = Account(model, tokenizer)
    ids = _prompt_ids(tokenizer, prompt, said, is_chat)
    target, other = (None if given is None else _token_id(tokenizer, given) for given in targets)
    found: dict[str, Any] = {"tokens": account.tokens(ids), "next": account.next_tokens(ids)["tokens"]}
    if choice.lens or choice.is_empty:
        found["lens"] = account.lens(ids, target, _tuned(load_tuned_lens, folder, model))
    if choice.attribution or choice.is_empty:
        found["attribution"] = account.attribution(ids, target)
        found["parts"] = account.parts(ids, target, other)
    if choice.attention:
        found["heads"], found["looks"] = account.heads(), account.looks(ids)["weights"]
    if choice.head is not None:
        found["attention"] = account.attention(ids, *_layer_and_head(choice.head))
    if choice.patch is not None:
        other_ids = _prompt_ids(tokenizer, choice.patch, said, is_chat)
        with Terminal(is_quiet=is_json).task("patching", total=1) as task:
            found["patching"] = account.patching(
                ids, other_ids, target, other, on_pass=lambda done, total: task.advance_to(done / total)
            )
    if choice.neurons:
        windows, terminal = _windows(path, text, model, tokenizer, is_needed=False), Terminal(is_quiet=is_json)
        found["neurons"] = account.neurons(ids, target, windows, terminal=terminal)
    if choice.sae is not None:
        found["features"] = account.features(ids, *load_sae(folder, model, choice.sae))
    if choice.neighbours:
        found["neighbours"] = account.neighbours(ids[-1])
    if is_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    _print(Console(highlight=False), found)


def train_lens(path: Path, text: Path | None, steps: int, seed: int) -> None:
    from glasshouse.explain import TunedLensConfig, save_tuned_lens, train_tuned_lens

    config = parse_config(TunedLensConfig, {"steps": steps, "seed": seed})
    folder, model, tokenizer = _open(path)
    terminal = Terminal()
    lens = train_tuned_lens(model, _windows(path, text, model, tokenizer), config, terminal)
    saved = save_tuned_lens(folder, lens)
    table = Table(box=None, header_style="bold green")
    for column in ("read before", "KL as it is", "KL translated"):
        table.add_column(column, justify="left" if column == "read before" else "right")
    for layer, (plain, tuned) in enumerate(zip(lens.plain_kl_L, lens.kl_L)):
        table.add_row(f"layer {layer}", f"{plain:.3f}", f"{tuned:.3f}")
    terminal.console.print(table)
    terminal.line("lens", f"{saved} · KL to the final distribution in nats a token, on held-out text")


def train_sae(path: Path, text: Path | None, settings: Mapping[str, Any]) -> None:
    from glasshouse.explain import SAEConfig, feature_passages, save_sae
    from glasshouse.explain import train_sae as train

    config = parse_config(SAEConfig, settings)
    folder, model, tokenizer = _open(path)
    terminal, windows = Terminal(), _windows(path, text, model, tokenizer)
    sae, report = train(model, windows, config, terminal)
    saved = save_sae(folder, sae, report, feature_passages(model, windows, sae, terminal=terminal))
    terminal.line("sae", f"{report.n_features:,} features, {sae.k} a token, after layer {sae.layer}")
    terminal.line(
        "",
        f"{100 * report.explained_variance:.1f} % of the variance explained · {report.n_dead:,} features "
        f"dead ({100 * report.n_dead / report.n_features:.0f} %) on {report.n_tokens:,} held-out tokens",
    )
    terminal.line(
        "",
        f"the model's loss: {report.loss_clean:.3f} nats a token as it is, {report.loss_replaced:.3f} "
        f"through the dictionary, {report.loss_ablated:.3f} with the layer's mean in its place",
    )
    terminal.line("", str(saved))  # fmt: skip


# ---- what is read ----------------------------------------------------------------------------------------------------


def _open(path: Path) -> tuple[Path, Any, Any]:
    start_torch()
    from glasshouse.checkpoint import load_model
    from glasshouse.infer.location import model_folder

    folder = model_folder(path)
    model, tokenizer = load_model(folder, default_device(), checks_hashes=False)
    return folder, model.requires_grad_(False), tokenizer


def _prompt_ids(tokenizer: Any, prompt: str, said: str, is_chat: bool) -> list[int]:
    from glasshouse.infer.chat import chat_ids

    if is_chat:
        return [*chat_ids(tokenizer, [Message("user", prompt)]), *tokenizer.encode(said)]
    return [*tokenizer.begin_ids, *tokenizer.encode(prompt + said)]


def _token_id(tokenizer: Any, text: str) -> int:
    ids = tokenizer.special_ids.get(text)
    if ids is not None:
        return int(ids)
    encoded = tokenizer.encode(text)
    if len(encoded) != 1:
        shown = " | ".join(tokenizer.decode([id]) for id in encoded)
        raise ConfigError(
            f"{text!r} is {len(encoded)} tokens ({shown}); name one token, with the space before it if any"
        )
    return int(encoded[0])


def _layer_and_head(text: str) -> tuple[int, int]:
    layer, dot, head = text.partition(".")
    if not (dot and layer.isdigit() and head.isdigit()):
        raise ConfigError(f"--head takes LAYER.HEAD, such as 1.0; got {text!r}")
    return int(layer), int(head)


def _tuned(load: Any, folder: Path, model: Any) -> Any:
    """The trained lens where there is one.  One of other weights is an error, not a lens."""
    return load(folder, model) if (folder / "explain" / "lens.json").is_file() else None


def _windows(path: Path, text: Path | None, model: Any, tokenizer: Any, *, is_needed: bool = True) -> Any:
    """What the run was trained on, or the text in a file, in windows."""
    from glasshouse.batch import TokenShard
    from glasshouse.explain import Windows

    seq_len = min(MAX_WINDOW, model.config.max_seq_len)
    shard = path / "pretrain" / "train.tokens"
    if text is not None:
        if not text.is_file():
            raise ConfigError(f"--text: {text} is not a file")
        return Windows(np.array(tokenizer.encode(text.read_text(encoding="utf-8", errors="replace"))), seq_len)
    if shard.is_file():
        return Windows(TokenShard(shard, tokenizer.hash).ids, seq_len)
    if is_needed:
        raise ConfigError(f"{path} has no training text beside it (pretrain/train.tokens); give some with --text FILE")
    return None


# ---- what is printed -------------------------------------------------------------------------------------------------


def _print(console: Console, found: Mapping[str, Any]) -> None:
    printers = {
        "next": _print_next, "lens": _print_lens, "attribution": _print_attribution, "parts": _print_parts,
        "heads": _print_heads, "attention": _print_attention, "patching": _print_patching, "neurons": _print_neurons,
        "features": _print_features, "neighbours": _print_neighbours,
    }  # fmt: skip
    for name, show in printers.items():
        if name in found:
            show(console, found)
            console.print()


def _shown(token: Mapping[str, Any]) -> str:
    """One token on one line: ␣ for a space at its edge, ⏎ for a new line."""
    text = token["name"] or printable(token["text"]).replace("\n", "⏎").replace("\t", "→")
    return "␣" + text[1:] if text.startswith(" ") else text


def _title(console: Console, title: str, note: str = "") -> None:
    console.print(Text.assemble((title, "bold green"), (f"  {note}", "dim")))


def _table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", justify="left" if number in (0, len(columns) - 1) else "right")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    console.print(table)


def _bar(share: float, width: int = 20) -> str:
    return "█" * round(width * max(0.0, min(1.0, share)))


def _print_next(console: Console, found: Mapping[str, Any]) -> None:
    _title(console, "next token", f"after {len(found['tokens'])} tokens")
    _table(console, ("token", "p", ""), [(_shown(t), f"{t['p']:.3f}", _bar(t["p"])) for t in found["next"]])


def _print_lens(console: Console, found: Mapping[str, Any]) -> None:
    lens = found["lens"]
    how = "through trained translators" if lens["is_tuned"] else "by the final norm and head"
    _title(console, "lens", f"what each layer would say, read {how}")
    rows = [
        ("embedding" if row["layer"] is None else f"layer {row['layer']}", f"{row['p_target']:.3f}", f"{row['rank']:,}",
         "  ".join(_shown(t) for t in row["tokens"]))
        for row in lens["rows"]
    ]  # fmt: skip
    _table(console, ("after", f"p({_shown(lens['target'])})", "rank", "likeliest"), rows)


def _print_attribution(console: Console, found: Mapping[str, Any]) -> None:
    of = found["attribution"]
    gap = f", they add up to within {abs(of['gap']):.1g} nats" if of["gap"] is not None else ""
    _title(console, "attribution", f"how much each token counts for {_shown(of['target'])} (integrated gradients{gap})")
    largest = max(map(abs, of["shares"]), default=0.0) or 1.0
    line = Text()
    for token, share in zip(found["tokens"], of["shares"]):
        line.append(_shown(token), style=_ground(share / largest))
    console.print(line)
    order = sorted(range(len(of["shares"])), key=lambda t: -abs(of["shares"][t]))[:8]
    _table(console, ("token", "at", "nats"), [
        (_shown(found["tokens"][t]), t, f"{of['shares'][t]:+.3f}") for t in order
    ])  # fmt: skip


def _ground(strength: float) -> str:
    """Green for, red for against; the stronger the deeper.  Black on it can be read at any strength."""
    light = round(255 - 130 * min(1.0, abs(strength)))
    return f"black on rgb({light},255,{light})" if strength >= 0 else f"black on rgb(255,{light},{light})"


def _print_parts(console: Console, found: Mapping[str, Any]) -> None:
    of = found["parts"]
    lead = f"'s lead over {_shown(of['other'])}" if of["other"] else ""
    _title(console, "who wrote it", f"the logit of {_shown(of['target'])}{lead}: {of['logit']:.3f}, as an exact sum")
    parts = [("embedding", of["embed"])]
    parts += [(f"layer {i} head {h}", v) for i, row in enumerate(of["heads"]) for h, v in enumerate(row)]
    parts += [(f"layer {i} MLP", v) for i, v in enumerate(of["mlps"])]
    parts.sort(key=lambda part: -abs(part[1]))
    shown, rest = parts[:10], sum(v for _, v in parts[10:])
    rows = [(name, f"{v:+.3f}") for name, v in shown]
    _table(console, ("part", "logit"), [*rows, ("all others", f"{rest:+.3f}"), ("sum", f"{of['sum']:+.3f}")])


def _print_heads(console: Console, found: Mapping[str, Any]) -> None:
    heads, looks = found["heads"], found["looks"]
    _title(console, "heads", f"scores on random text of {heads['period']} tokens, written twice; where each looks now")
    rows = []
    for i, row in enumerate(heads["previous"]):
        for h, previous in enumerate(row):
            at = max(range(len(looks[i][h])), key=looks[i][h].__getitem__)
            where = f"{_shown(found['tokens'][at])} at {at} ({looks[i][h][at]:.2f})"
            rows.append((f"{i}.{h}", f"{previous:.2f}", f"{heads['duplicate'][i][h]:.2f}",
                         f"{heads['induction'][i][h]:.2f}", where))  # fmt: skip
    _table(console, ("head", "previous", "duplicate", "induction", "looks most at"), rows)


def _print_attention(console: Console, found: Mapping[str, Any]) -> None:
    of = found["attention"]
    _title(console, f"head {of['layer']}.{of['head']}", "each row looks at the columns before it; █ is all of it")
    _print_map(console, [_shown(t) for t in found["tokens"]], of["pattern"])


def _print_map(console: Console, names: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    """Rows of cells shaded from 0 to 1, two characters a cell; a minus sign where a value is clearly below."""
    width = min(14, max(map(len, names), default=0))
    for name, row in zip(names, rows):
        cells = "".join("- " if v < -0.1 else SHADES[min(4, max(0, round(v * 4)))] * 2 for v in row)
        console.print(Text(f"{name[:width]:<{width}} {cells}"), no_wrap=True, overflow="crop")


def _print_patching(console: Console, found: Mapping[str, Any]) -> None:
    of = found["patching"]
    note = f"{_shown(of['target'])} leads {_shown(of['other'])} by {of['lead']:.2f}, in the other prompt by "
    _title(console, "patching", f"{note}{of['other_lead']:.2f}; █ brings the whole answer back")
    n_layers = len(next(iter(of["effects"].values())))
    for site, effect_LT in of["effects"].items():
        console.print(Text(SITE_NAMES[site], style="bold"))
        ruler = "".join(f"{t % 10} " for t in range(len(of["tokens"])))
        console.print(Text(f"{'at':<{len('layer 0') + 1}}{ruler}", style="dim"), no_wrap=True, overflow="crop")
        _print_map(console, [f"layer {i}" for i in range(n_layers)], effect_LT)
    differing = [t for t, (a, b) in enumerate(zip(of["tokens"], of["other_tokens"])) if a["id"] != b["id"]]
    strongest = sorted(
        ((abs(v), v, site, i, t) for site, rows in of["effects"].items() for i, row in enumerate(rows)
         for t, v in enumerate(row)), reverse=True,
    )[:8]  # fmt: skip
    rows = [(SITE_NAMES[s].split(" before")[0], i, t, f"{v:+.2f}", _shown(of["tokens"][t]))
            for _, v, s, i, t in strongest]  # fmt: skip
    _table(console, ("place", "layer", "at", "effect", "token"), rows)
    console.print(Text(f"the prompts differ at {', '.join(map(str, differing))}", style="dim"))


def _print_neurons(console: Console, found: Mapping[str, Any]) -> None:
    of = found["neurons"]
    _title(console, "neurons", f"who wrote most of the logit of {_shown(of['target'])}, and where each is strongest")
    for neuron in of["neurons"]:
        console.print(Text(f"layer {neuron['layer']} neuron {neuron['neuron']}  {neuron['share']:+.3f}"))
        _print_passages(console, neuron["passages"])


def _print_features(console: Console, found: Mapping[str, Any]) -> None:
    of, report = found["features"], found["features"]["report"]
    _title(console, f"features after layer {of['layer']}", f"of {_shown(found['tokens'][-1])} · "
           f"{100 * report['explained_variance']:.1f} % of the variance explained, {report['n_dead']:,} of "
           f"{report['n_features']:,} features dead")  # fmt: skip
    for feature in of["features"]:
        console.print(Text(f"feature {feature['feature']}  {feature['strength']:.3f}"))
        _print_passages(console, feature["passages"][:3])


def _print_passages(console: Console, passages: Sequence[Mapping[str, Any]]) -> None:
    for passage in passages:
        line = Text(f"    {passage['strength']:8.2f}  ", style="dim")
        for at, token in enumerate(passage["tokens"]):
            text = token["name"] or printable(token["text"]).replace("\n", "⏎").replace("\t", "→")
            line.append(text, style="bold reverse" if at == passage["at"] else "not dim")
        console.print(line, no_wrap=True, overflow="ellipsis")


def _print_neighbours(console: Console, found: Mapping[str, Any]) -> None:
    of = found["neighbours"]
    _title(console, "neighbours", f"embeddings nearest to {_shown(of['token'])}")
    _table(console, ("token", "cosine"), [(_shown(t), f"{t['cosine']:.3f}") for t in of["neighbours"]])
