"""Tests in one process, the program they test in another; between them only plain data.  Standard library only.

Standard input: the program's length in bytes (16 characters), the program, the tests.  Standard output: `null` for a
pass, else one line of why not, as JSON.

The child is made before the tests are read and holds neither them nor this process's standard output: it can answer
calls, and nothing else.  What it answers is data: numbers, texts, lists, tuples, sets, dicts, None, and names of
built-ins.  Any other object stays there; here it is a `Remote`, which can be called, read, iterated over and passed
back, but equals nothing.  Changes that a call makes to a list, dict or set it was given are made here too.
"""

import builtins
import json
import os
import sys
import types
from typing import Any

MAX_REPLY_BYTES = 8 << 20
BUILT_IN = frozenset(dir(builtins))


def main() -> None:
    source = os.fdopen(0, "rb", buffering=0)
    code = source.read(int(source.read(16)))
    verdict = os.dup(1)
    os.dup2(2, 1)
    (request_r, request_w), (reply_r, reply_w) = os.pipe(), os.pipe()
    if os.fork() == 0:
        for descriptor in (verdict, request_w, reply_r):
            os.close(descriptor)
        nothing, end = os.pipe()
        os.close(end)
        os.dup2(nothing, 0)
        Program(request_r, reply_w).serve(code)
    os.close(request_r)
    os.close(reply_w)
    tests = b"".join(iter(lambda: source.read(1 << 20), b""))
    os.write(verdict, json.dumps(run_tests(tests, Link(request_w, reply_r))).encode())
    os._exit(0)  # with this process everything ends


# ---- the side of the program: nothing here is trusted ----------------------------------------------------------------


class Program:
    def __init__(self, requests: int, replies: int) -> None:
        self.requests, self.replies = os.fdopen(requests, "rb"), os.fdopen(replies, "wb")
        self.objects: list[Any] = []

    def serve(self, code: bytes) -> None:
        """Run the program, then answer requests until there are no more.  Never returns."""
        try:
            self.reply(self.try_to(lambda: self.start(code)))
            for line in self.requests:
                self.reply(self.try_to(lambda: self.answer(*json.loads(line))))  # noqa: B023 (called at once)
        finally:
            os._exit(0)

    def reply(self, value: Any) -> None:
        self.replies.write(json.dumps(value).encode() + b"\n")
        self.replies.flush()

    def try_to(self, act: Any) -> Any:
        try:
            return {"value": act()}
        except BaseException as error:
            return {"raised": [type(error).__name__, str(error)[:500]]}

    def start(self, code: bytes) -> Any:
        module = types.ModuleType("program")
        sys.modules["program"] = module
        exec(compile(code, "program", "exec"), module.__dict__)
        return {name: ["module"] if isinstance(value, types.ModuleType) else ["value", self.encode(value)]
                for name, value in module.__dict__.items() if not name.startswith("__")}  # fmt: skip

    def answer(self, verb: str, number: int, arguments: Any) -> Any:
        target = self.objects[number]
        if verb == "call":
            given = [self.decode(a) for a in arguments[0]]
            named = {name: self.decode(a) for name, a in arguments[1].items()}
            result = target(*given, **named)
            return [self.encode(result), [self.encode(a) for a in given]]
        if verb == "set":
            return setattr(target, arguments[0], self.decode(arguments[1]))
        acts: dict[str, Any] = {
            "get": getattr, "list": list, "text": str, "truth": bool, "item": lambda o, i: o[self.decode(i)]
        }  # fmt: skip
        return self.encode(acts[verb](target, *arguments))

    def encode(self, value: Any) -> Any:
        return encode(value, self.keep)

    def decode(self, value: Any) -> Any:
        return decode(value, lambda number: self.objects[number])

    def keep(self, value: Any) -> int:
        self.objects.append(value)
        return len(self.objects) - 1


# ---- the side of the tests -------------------------------------------------------------------------------------------


class Link:
    """Requests to the program and what comes back."""

    def __init__(self, requests: int, replies: int) -> None:
        self.requests, self.replies = os.fdopen(requests, "wb"), os.fdopen(replies, "rb")

    def ask(self, verb: str, number: int, *arguments: Any) -> Any:
        self.requests.write(json.dumps([verb, number, arguments]).encode() + b"\n")
        self.requests.flush()
        return self.reply()

    def reply(self) -> Any:
        line = self.replies.readline(MAX_REPLY_BYTES)
        if not line.endswith(b"\n"):
            raise RuntimeError("the program ended, or answered too much")
        reply = json.loads(line)
        if "raised" in reply:
            name, text = reply["raised"]
            kind = getattr(builtins, name, None) if isinstance(name, str) else None
            is_usual = isinstance(kind, type) and issubclass(kind, Exception)
            raise kind(text) if is_usual else RuntimeError(f"{name}: {text}")  # type: ignore[misc]
        return reply["value"]

    def encode(self, value: Any) -> Any:
        return encode(value, lambda remote: number_of(remote))

    def decode(self, value: Any) -> Any:
        return decode(value, lambda number: Remote(self, number))


class Remote:
    """Something of the program's that is no plain data."""

    def __init__(self, link: Link, number: int) -> None:
        object.__setattr__(self, "_link", link)
        object.__setattr__(self, "_number", int(number))

    def __call__(self, *given: Any, **named: Any) -> Any:
        link = self._link
        sent = [[link.encode(a) for a in given], {name: link.encode(a) for name, a in named.items()}]
        result, after = link.ask("call", self._number, *sent)
        for argument, changed in zip(given, after):
            bring_up_to_date(argument, link, changed)
        return link.decode(result)

    def __getattr__(self, name: str) -> Any:
        return self._link.decode(self._link.ask("get", self._number, name))

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("set", self._number, name, self._link.encode(value))

    def __iter__(self) -> Any:
        return iter(list(self._link.decode(self._link.ask("list", self._number))))

    def __getitem__(self, key: Any) -> Any:
        return self._link.decode(self._link.ask("item", self._number, self._link.encode(key)))

    def __str__(self) -> str:
        return str(self._link.decode(self._link.ask("text", self._number)))

    def __bool__(self) -> bool:
        return self._link.ask("truth", self._number) is True


def number_of(value: Any) -> int:
    if type(value) is not Remote:
        raise TypeError(f"a {type(value).__name__} cannot be handed to the program, only plain data")
    return int(object.__getattribute__(value, "_number"))


def bring_up_to_date(argument: Any, link: Link, changed: Any) -> None:
    if type(argument) is list:
        argument[:] = link.decode(changed)
    elif type(argument) in (dict, set):
        new = link.decode(changed)
        argument.clear()
        argument.update(new)


def run_tests(tests: bytes, link: Link) -> str | None:
    """None for a pass, else why not."""
    names: dict[str, Any] = {"__name__": "tests"}
    try:
        for name, (kind, *value) in link.reply().items():
            if kind == "module" and name in sys.stdlib_module_names:
                names[name] = __import__(name)
            elif kind == "value" and name not in BUILT_IN:  # no name of Python's own may mean something else here
                names[name] = link.decode(value[0])
        exec(compile(tests, "tests", "exec"), names)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:500]
    return None


# ---- plain data, as JSON ---------------------------------------------------------------------------------------------
# None, True, False, floats and texts stand for themselves; all else is [kind, content].


def encode(value: Any, keep: Any) -> Any:
    """`keep(value)` gives the number of what is no plain data.  A subclass becomes what it is a kind of."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        return ["int", hex(value)]
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, complex):
        return ["complex", [value.real, value.imag]]
    if isinstance(value, bytes | bytearray):
        return ["bytes", value.hex()]
    for kind, base in PLAIN.items():
        if isinstance(value, base):
            return [kind, [encode(v, keep) for v in base.__iter__(value)]]
    if isinstance(value, dict):
        return ["dict", [[encode(k, keep), encode(v, keep)] for k, v in dict.items(value)]]
    name = getattr(value, "__name__", None)
    if isinstance(name, str) and getattr(builtins, name, None) is value:
        return ["builtin", name]
    return ["object", keep(value)]


def decode(value: Any, find: Any) -> Any:
    if not isinstance(value, list):
        if isinstance(value, dict) or type(value) is int:
            raise TypeError("not in the form of an answer")
        return value
    kind, content = value
    if kind in PLAIN:
        return PLAIN[kind](decode(v, find) for v in content)
    if kind == "dict":
        return {decode(k, find): decode(v, find) for k, v in content}
    return {"int": lambda: int(content, 16), "complex": lambda: complex(*content),
            "bytes": lambda: bytes.fromhex(content), "builtin": lambda: getattr(builtins, content),
            "object": lambda: find(content)}[kind]()  # fmt: skip


PLAIN: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


if __name__ == "__main__":
    main()
