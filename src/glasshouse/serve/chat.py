"""POST /v1/chat/completions.

The streamed answer and the plain one are made from the same events, so they say the same (tested).
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from glasshouse.core.errors import ConfigError
from glasshouse.evals.json_schema import check_schema
from glasshouse.infer import Delta
from glasshouse.infer.grammar import Grammar
from glasshouse.serve.answers import ChatAnswer, documented
from glasshouse.serve.config import ServeConfig
from glasshouse.serve.errors import JSON, APIError, unknown_name
from glasshouse.serve.generation import Job, Record, check_number, choices, sampling_of
from glasshouse.serve.http import APIRouter, Request, Response
from glasshouse.serve.logprobs import ScoredToken, chat_logprobs
from glasshouse.serve.requests import (
    AssistantMessage,
    ChatMessage,
    ChatRequest,
    ChosenTool,
    Content,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from glasshouse.serve.served import Models, Served
from glasshouse.serve.streaming import EventStream, while_connected
from glasshouse.serve.template import chat_prompt
from glasshouse.serve.tools import Call, CallReader, forced_schema, parameters
from glasshouse.tokenizer import Tokenizer

ToolSpec = dict[str, Any]
LONG_CONVERSATION = 20_000  # characters; rendering and encoding more is done on another thread


def chat_routes(models: Models, config: ServeConfig) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions", responses=documented(ChatAnswer, streams=True), tags=["generation"])
    async def create_chat_completion(body: ChatRequest, request: Request) -> Response:
        """The assistant's next message."""
        check_number(body.n or 1, config.max_choices)
        served, record = models.find(body.model), request.state.record
        answer = await _prepare(served, body, record)
        if config.logs_prompts:
            record.texts["messages"] = [message.model_dump(exclude_none=True) for message in body.messages]
        if body.stream:
            return EventStream(answer.stream(), config.write_timeout_s)
        return JSON(await while_connected(request, answer.whole()))

    return router


async def _prepare(served: Served, body: ChatRequest, record: Record) -> "ChatAnswering":
    """Everything that can be wrong with a request is found here, before any work."""
    record.model = served.name
    if body.top_logprobs is not None and not body.logprobs:
        raise APIError(400, '"top_logprobs" needs "logprobs": true', param="top_logprobs")
    tools, is_forced = _tools(body)
    turns = [_turn(message) for message in body.messages]
    is_long = sum(len(turn["content"]) for turn in turns) >= LONG_CONVERSATION
    rendering = asyncio.to_thread(chat_prompt, served.tokenizer, turns, tools) if is_long else None
    ids = await rendering if rendering else chat_prompt(served.tokenizer, turns, tools)
    served.check_prompt(ids, "messages")
    record.n_prompt_tokens = len(ids)
    await served.check_content([turn["content"] for turn in turns], "messages")
    limit = body.max_completion_tokens or body.max_tokens or served.engine.max_seq_len
    sampling = sampling_of(body, limit, body.top_logprobs or 0)
    if not (body.logprobs or body.response_format or tools):  # these want what the model said, word for word
        sampling = served.engine.in_conversation(sampling)
    grammar = await _grammar(served.tokenizer, body.response_format, tools if is_forced else None)
    jobs = [Job(ids, config, grammar) for config in choices(sampling, body.n or 1)]
    return ChatAnswering(served, body, jobs, tools, record)


def _tools(body: ChatRequest) -> tuple[list[ToolSpec], bool]:
    """The tools the model is told of, and whether it has to call one."""
    tools = [tool.model_dump(exclude_none=True, exclude={"function": {"strict"}}) for tool in body.tools or ()]
    choice = body.tool_choice
    for number, tool in enumerate(tools):
        check_schema(parameters(tool), f"tools.{number}.function.parameters")
    if isinstance(choice, ChosenTool):
        names = [tool["function"]["name"] for tool in tools]
        if choice.function.name not in names:
            raise APIError(400, unknown_name("tool", choice.function.name, names or ["none"]), param="tool_choice")
        tools = [tool for tool in tools if tool["function"]["name"] == choice.function.name]
    if choice == "required" and not tools:
        raise APIError(400, '"tool_choice": "required" needs "tools" to choose from', param="tool_choice")
    is_forced = isinstance(choice, ChosenTool) or choice == "required"
    is_formed = body.response_format is not None and body.response_format.type != "text"
    if is_formed and tools and choice != "none":
        message = 'an answer cannot be a tool call and have a "response_format" too; leave one out'
        raise APIError(400, message, param="response_format")
    return ([] if choice == "none" else tools), is_forced


def _turn(message: ChatMessage) -> dict[str, Any]:
    """A message as templates take it: text, and the arguments of calls as objects."""
    role = "system" if message.role == "developer" else message.role
    turn: dict[str, Any] = {"role": role, "content": _text(message.content)}
    if message.role == "tool":
        turn["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        turn["name"] = message.name
    if isinstance(message, AssistantMessage) and message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": _arguments(call.function.arguments)},
            }
            for call in message.tool_calls
        ]
    return turn


def _text(content: Content | None) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content or ())


def _arguments(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _grammar(tokenizer: Tokenizer, form: ResponseFormat | None, forced: list[ToolSpec] | None) -> Grammar | None:
    if forced:
        return await compiled("tools", lambda: Grammar.json_schema(forced_schema(forced), tokenizer))
    return await compiled("response_format", lambda: grammar_of(form, tokenizer)) if form else None


async def compiled(param: str, make: Callable[[], Grammar | None]) -> Grammar | None:
    """A grammar, made on another thread: a large schema may take a while.  What cannot be made is named."""
    try:
        return await asyncio.to_thread(make)
    except ConfigError as error:
        raise APIError(400, str(error), param=param, code="invalid_value") from None


def grammar_of(form: ResponseFormat | None, tokenizer: Tokenizer) -> Grammar | None:
    match form:
        case JsonObjectFormat():
            return Grammar.json_object(tokenizer)
        case JsonSchemaFormat():
            return Grammar.json_schema(form.json_schema.schema_, tokenizer)
        case RegexFormat():
            return Grammar.regex(form.pattern, tokenizer)
        case GrammarFormat():
            return Grammar.lark(form.grammar, tokenizer)
    return None


@dataclass(slots=True)
class _Choice:
    """One answer as it comes."""

    reader: CallReader
    text: list[str] = field(default_factory=list)
    tokens: list[ScoredToken] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    finish_reason: str | None = None


class ChatAnswering:
    """One request under way: `stream` or `whole`, once."""

    def __init__(
        self, served: Served, body: ChatRequest, jobs: Sequence[Job], tools: list[ToolSpec], record: Record
    ) -> None:
        self._served, self._body, self._jobs, self._record = served, body, jobs, record
        self._choices = [_Choice(CallReader(tools)) for _ in jobs]
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": served.name}

    async def whole(self) -> dict[str, Any]:
        async for number, delta in self._served.answers(self._jobs, self._record):
            self._take(self._choices[number], delta)
        answers = [self._answer(number, choice) for number, choice in enumerate(self._choices)]
        return {**self._head, "object": "chat.completion", "choices": answers, "usage": self._usage()}

    async def stream(self) -> AsyncGenerator[dict[str, Any], None]:
        """Chunks: the role, text as it becomes certain, calls, the reason of the end; usage last where asked for."""
        has_begun: set[int] = set()
        async for number, delta in self._served.answers(self._jobs, self._record):
            if number not in has_begun:
                has_begun.add(number)
                yield self._chunk(number, {"role": "assistant", "content": ""})
            choice = self._choices[number]
            text, scored = self._take(choice, delta)
            logprobs = chat_logprobs(self._served.tokenizer, [scored]) if scored and self._body.logprobs else None
            if text or logprobs:
                yield self._chunk(number, {"content": text}, logprobs)
            for index, call in enumerate(choice.calls):
                yield self._chunk(number, {"tool_calls": [{"index": index, **call.to_json()}]})
            if choice.finish_reason:
                yield self._chunk(number, {}, finish_reason=choice.finish_reason)
        if self._includes_usage():
            yield {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}

    def _take(self, choice: _Choice, delta: Delta) -> tuple[str, ScoredToken | None]:
        """The text and the token that `delta` adds to a choice; a token that only ends the answer is none."""
        is_end = delta.finish_reason == "stop" and delta.id in self._served.engine.end_ids
        scored = None if is_end else ScoredToken(delta.id, delta.logp, delta.alternatives)
        text = choice.reader.push(delta.text)
        if delta.finish_reason is not None:
            rest, choice.calls = choice.reader.finish()
            text += rest
            choice.finish_reason = "tool_calls" if choice.calls else delta.finish_reason
        choice.text.append(text)
        if scored:
            choice.tokens.append(scored)
        return text, scored

    def _answer(self, number: int, choice: _Choice) -> dict[str, Any]:
        text = "".join(choice.text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text or (None if choice.calls else ""),
            "refusal": None,
        }
        if choice.calls:
            message["tool_calls"] = [call.to_json() for call in choice.calls]
        logprobs = chat_logprobs(self._served.tokenizer, choice.tokens) if self._body.logprobs else None
        return {"index": number, "message": message, "logprobs": logprobs, "finish_reason": choice.finish_reason}

    def _chunk(self, number: int, delta: dict[str, Any], logprobs: Any = None, finish_reason: str | None = None) -> Any:
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        usage = {"usage": None} if self._includes_usage() else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **usage}

    def _includes_usage(self) -> bool:
        return self._body.stream_options is not None and self._body.stream_options.include_usage

    def _usage(self) -> dict[str, int]:
        return usage(self._record)


def usage(record: Record) -> dict[str, int]:
    n_prompt, n_generated = record.n_prompt_tokens, record.n_generated_tokens
    return {"prompt_tokens": n_prompt, "completion_tokens": n_generated, "total_tokens": n_prompt + n_generated}
