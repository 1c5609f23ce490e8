"""Names that the standard library might have and has not, to learn refusing by, and to judge it by.

Drawn afresh for every epoch: the model cannot remember them and must learn which names exist.  One in ten belongs to
evaluation, and so do some function names, some ways of misspelling and some kinds altogether.
"""

import random
from collections.abc import Mapping

from glasshouse.corpus.library import Fact, Library
from glasshouse.corpus.misspelling import MISSPELLINGS, UNSEEN_MISSPELLINGS, Misspelling
from glasshouse.corpus.phrasing import bucket, is_made_up_for_evaluation


def is_for_evaluation(name: str) -> bool:
    """Whether a made-up name belongs to evaluation, never to training: 1 in 10, and all of `OTHER_LIBRARIES`."""
    return name in OTHER_LIBRARIES or is_made_up_for_evaluation(name)


def is_unrefused_function(bare: str) -> bool:
    """Whether training shows this function's name only where it is real, never in a made-up name: 1 in 10."""
    return bucket("unrefused function", bare, 10) == 0


# What other languages and libraries would call it; those that exist in this Python after all are never drawn.
STYLES = {
    "json": "parse stringify decode encode to_string",
    "os": "readFile exists copy move cp rm touch cwd exec spawn sleep",
    "shutil": "rename delete mkdir remove zip",
    "math": "abs max min round clamp lerp random sign mean sum average",
    "random": "rand randn integer pick permutation normal",
    "time": "now wait delay millis today",
    "datetime": "now parse",
    "string": "trim split join reverse replace length",
    "re": "test replace exec matchAll find",
    "sys": "args print quit env",
    "csv": "parse read load to_dict",
    "http": "get post request",
    "socket": "connect listen open",
    "threading": "spawn start join run",
    "asyncio": "spawn delay all race",
    "itertools": "map zip flatten reduce filter",
    "functools": "compose memoize curry debounce pipe",
    "collections": "Array HashMap Stack Set List",
    "subprocess": "exec shell spawn",
    "logging": "log_error print warn_once",
    "hashlib": "hash encrypt crc32",
    "zlib": "gzip zip",
    "gzip": "unzip",
    "base64": "encode_string to_bytes",
    "pickle": "save serialize",
    "copy": "clone deep_clone duplicate",
    "uuid": "generate v4",
    "tempfile": "create open",
    "glob": "find search",
    "heapq": "push pop",
    "bisect": "search find",
    "statistics": "average std var",
    "typing": "Array Maybe",
    "numpy": "zeros array",
    "pandas": "read_csv DataFrame",
    "requests": "get post",
    "torch": "tensor",
    "flask": "Flask",
    "django": "setup",
    "fs": "readFile writeFileSync",
    "console": "log",
    "lodash": "debounce",
    "std": "vector sort",
    "System": "out",
    "strings": "Builder",
    "fmt": "Println",
    "ioutil": "ReadAll",
    "Object": "keys",
    "Array": "from",
}
OTHER_LIBRARIES = tuple(f"{module}.{name}" for module, names in STYLES.items() for name in names.split())
# What made-up names are made of: kind and its share of them.
TRAINED_MADE_UP = {"pair": 0.45, "near_miss": 0.33, "composed": 0.08, "module": 0.14}
EVALUATED_MADE_UP = {
    "pair": 0.35,
    "pair_unseen": 0.15,
    "near_miss": 0.15,
    "near_miss_unseen": 0.10,
    "composed": 0.10,
    "module": 0.05,
    "swapped": 0.03,
    "style": 0.07,
}


class MadeUpNames:
    """Plausible names that do not exist, drawn from one side of the split: for training or for evaluation.

    - pair       a real module with another module's function: `json.copytree`
    - near_miss  a real name slightly misspelt: `shutil.copytrees`
    - composed   a real module with words of real names: `shutil.walk_header`
    - module     a real function in a misspelt module: `shutils.copytree`; or such a module alone: `shutils`

    For evaluation alone:

    - pair_unseen       a pair whose function training has only ever shown as real
    - near_miss_unseen  misspelt in a way training has never shown: `shutil.copytree_safe`
    - swapped           a real name back to front: `copytree.shutil`
    - style             a name from elsewhere: `json.parse`
    """

    def __init__(self, library: Library, rng: random.Random, *, is_for_evaluation: bool) -> None:
        self.library, self.rng, self.is_for_evaluation = library, rng, is_for_evaluation

    def draw(self, kind: str) -> str:
        """One name of a kind; tries until it is on this side of the split and does not exist."""
        for _ in range(10_000):
            fact = self.rng.choice(self.library.members)
            name = self._propose(kind, fact)
            is_unrefused = is_unrefused_function(name.rpartition(".")[2])
            is_right = is_unrefused if kind == "pair_unseen" else self.is_for_evaluation or not is_unrefused
            if is_right and self._is_free(name):
                return name
        raise RuntimeError(f"found no made-up name of kind {kind!r} in 10,000 tries: is the library nearly empty?")

    def draw_bare(self) -> str:
        """A function's name that no module has, for questions such as `Which module is ... in?`."""
        return self.draw(self.rng.choice(("bare_near_miss", "bare_composed")))

    def _is_free(self, name: str) -> bool:
        is_wellformed = all(part.isidentifier() for part in name.split("."))
        is_on_this_side = is_for_evaluation(name) == self.is_for_evaluation
        return is_wellformed and is_on_this_side and name not in self.library.existing

    def _propose(self, kind: str, fact: Fact) -> str:
        match kind:
            case "pair" | "pair_unseen":  # both parts drawn as often as real names show them: only the pair tells
                return f"{self.rng.choice(self.library.members).module}.{fact.bare}"
            case "near_miss":
                return f"{fact.module}.{self._misspell(fact.bare, MISSPELLINGS)}"
            case "near_miss_unseen":
                return f"{fact.module}.{self._misspell(fact.bare, UNSEEN_MISSPELLINGS)}"
            case "composed":
                return f"{fact.module}.{self._compose()}"
            case "module":
                module = self._misspell(fact.module, MISSPELLINGS)
                return module if self.rng.random() < 0.3 else f"{module}.{fact.bare}"
            case "swapped":
                return f"{fact.bare}.{fact.module}"
            case "style":
                return self.rng.choice(OTHER_LIBRARIES)
            case "bare_near_miss":
                return self._misspell(fact.bare, MISSPELLINGS)
            case "bare_composed":
                return self._compose()
        raise ValueError(f"unknown kind of made-up name {kind!r}")

    def _misspell(self, word: str, ways: Mapping[str, Misspelling]) -> str:
        return ways[self.rng.choice(list(ways))](word, self.rng)

    def _compose(self) -> str:
        first, second = self.rng.choice(self.library.words), self.rng.choice(self.library.words)
        forms = (f"{first}_{second}", f"{first}{second}", first, f"{first.capitalize()}{second.capitalize()}")
        return self.rng.choice(forms)
