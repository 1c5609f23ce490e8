"""Every wording of a question, trained or held out, of the standard library and of somebody's own text: one table.

`(a|b|)` in a phrasing is one of its alternatives, `<word>` one of its synonyms in `SYNONYMS`, drawn each time
(`phrasing.spell_out`).  The order of a table is part of what a seed means.

What a small model has to learn is which words do not matter, where in a sentence the name may stand, and how many words
ask the same thing.  So a question is composed: a phrasing of its kind, or a few of its cues (`CUES`) in any order; by
itself, or beside a statement (`STATEMENTS`) that names what the question then calls `it`.  Names of code are put in
backticks now and then (a plain name and one in backticks are cut into different tokens); names of sections and
sentences are words, and most have marks around them.

Held-out phrasings are never trained, and nothing is that shares more than half of one's pairs of words.
"""

from collections.abc import Mapping
from typing import Literal

Subject = Literal["library", "text"]
Table = tuple[tuple[str, tuple[Subject, ...]], ...]  # wordings in order, and whom each is for


def both(*wordings: str) -> Table:
    return tuple((wording, ("library", "text")) for wording in wordings)


def library(*wordings: str) -> Table:
    return tuple((wording, ("library",)) for wording in wordings)


def text(*wordings: str) -> Table:
    return tuple((wording, ("text",)) for wording in wordings)


def words(of: str) -> frozenset[str]:
    return frozenset(of.split())


# Words for one thing, alike in grammar.
SYNONYMS = {
    "inputs": "arguments|parameters|inputs|values|args|params|operands|keywords|options|argument names",
    "take": "take|accept|need|want|expect|have|require|understand|allow|receive|ask for|handle",
    "give": "give|hand|supply|feed|send|offer|deliver|entrust|lend",
    "form": "signature|parameters|argument list|arguments|parameter list|call form|calling convention|header|def line|"
    "usage|syntax|prototype",
    "call": "call|invoke|execute",
    "module": "module|package|file|library|section|place|namespace|source file",
    "holds": "has|holds|contains|offers|exports|includes|gives me|comes with|owns|defines|declares|delivers|supplies|"
    "carries|knows|hosts",
    "kept": "kept|declared|hidden|stored|housed|implemented|exposed|documented|put|placed|written down|available",
    "show": "show me|tell me|give me|write down|state|print|I need|I want|look up|say|name|fetch|let me have|"
    "I would like",
    "explain": "explain|describe|summarise|sketch|clarify|outline|introduce|characterise|illuminate|paraphrase",
    "briefly": "briefly|in one sentence|in short|in a few words|simply|without jargon|quickly|roughly",
    "who": "my boss|our intern|a friend|the teacher|somebody|the author|a reviewer|my brother|the team|the previous "
    "owner|the customer|her talk|his answer|our professor|the other group|an applicant|a robot|my neighbour",
    "thing": "the notebook|an old server|our pipeline|the test suite|the homework|a makefile|this class|the log|a "
    "forum|the exercise|that loop|our website|the build|an example|the patch|a game|the report|this branch|the video",
    "used": "used|called|mentioned|copied|wrote|removed|replaced|recommended|showed|touched|wrapped|tested|patched|"
    "noticed|dropped|underlined|highlighted|wanted|needed|moved|printed|ignored|praised|feared|renamed|counted",
    "when": "yesterday|today|last week|this morning|in March|again|for years|all the time|without a word|twice|at "
    "noon|by mistake|by chance|since Monday|for the first time|in vain",
    "place": "in line 12|in the loop|on the last page|near the top|in a talk|next to a comment|inside a class|at the "
    "end of a file|in the meeting|on a slide|between two tests|under the title|in a long list|on page 7",
    "did": "broke|failed|worked|stopped|was slow|got faster|did not start|crashed|grew|was rejected|made no sense",
    "odd": "strange|useful|familiar|odd|old|important|funny|handy|dangerous|unclear|harmless|clever|short|foreign",
}
# The name in the middle of a life: beside one of these a question says `it`.
STATEMENTS: Table = both(
    "<who> <used> {name}( <when>|)( <place>|)",
    "<thing> <used> {name}( <place>|)( <when>|)",
    "(then|there|here|and then|suddenly) (is|was|came|stood|appeared) {name}( <place>| <when>|)",
    "{name} (is|was|appeared|turned up|came up|is mentioned|is used|is called|had been) <place>( <when>|)",
    "(I am|we are|she is|everybody is) (stuck|puzzled|working|experimenting|struggling|playing|busy) (with|on|because "
    "of|near) {name}( <when>|)",
    "(I never|I seldom|nobody ever|we rarely|I first) (met|saw|needed|heard of|noticed|thought about) {name}"
    "( before| <place>|)",
    "(the word|the line with|something called|this|that bit with) {name} (is|looks|seems|sounds|feels) <odd>"
    "( to us| here| <when>|)",
    "(without|because of|instead of|thanks to|after|before|with|due to) {name} <thing> <did>( <when>|)",
    "<who> (told me|said|claims|thinks|insists|wrote) (that |){name} (helps|is enough|is wrong|is better|would do|is "
    "needed|is <odd>|<did>)( <place>|)",
    "<who> (wants|wanted|asked|forced|begged) (me|us|them) to (use|learn|avoid|know|test|try) {name}( <when>|)",
    "(in|for|inside|during) <thing>, <who> <used> {name}( <when>|)",
    "<thing> (has|shows|contains|lists|repeats|quotes) {name} <place>(, but <thing> has not|, and so has <thing>|)",
    "(for|at|after) (work|school|breakfast|an exam|a course) (I|we|they) (study|read|rewrite|discuss|try) {name}"
    "( <place>|)",
    "(between|among|besides) (many|other|all the) <odd> (things|words|calls|lines) <thing> <used> {name}",
    "<who> and <who> (argue|talk|disagree|joke) about {name}( <when>|)",
    "{name} and (the rest|two others|a loop|nothing else) <did> <place>",
    "(it is|it was|it must be) {name} (again|that <who> <used>|that <did>|, I think)",
    "<who> (got|took|borrowed|learned|had|copied) {name} (from|by|with|through|off) (a|an old|some|the) "
    "(book|blog|friend|forum|class|screen|mail)( <when>|)",
    "(from|since|until|by|over|within) (the start|one day|the end|time to time|next week|the first hour) {name} "
    "(was|is|stayed|became) <odd> (for|to) (us|me|them|<who>)",
    "(to|for|with|from|by|of) <who>, {name} (is|was|seems|seemed|remains) <odd>( <when>|)",
    "(a|one|another|the) (piece|bit|copy|line|page|part) of (code|text|work) from <who> (has|with|shows|and) {name} "
    "(in it|in there|near it|at the top|<place>)",
    "(out of|away from|next to|far from|close to|in front of) (a|the) (loop|test|list|door|window|corner) "
    "(stood|stands|was|is) {name}( <when>|)",
    "(as|if|while|since|because|once|whenever) {name} <did>, (I|we|they) (left|waited|asked|began|stopped|went from a "
    "to b)( <when>|)",
    "(I|we|they|she) (moved|went|came|changed|switched) (from|to|over to|away from) {name} <when>",
    "(a|the) <odd> (line|page|file|note|mail) from <who> (ends|begins|closes|opens) with {name}",
    "(let us|let me|please|do|try to) (begin|start|go on|stop|stay) (with|at|near|from) {name}",
    "(there is|there was|we have|I have|you see) {name} (over there|in it|to my left|on a|in a row|and a lot from "
    "<who>)",
    "(it|that|this) (came|went|grew|got) (from|to|by|with) {name} (to|into|and) (the rest|a mess|a test|nothing)",
    "of (all|many|two|three|these) (words|names|lines|calls), {name} (is|was) the (first|last|longest|one I know "
    "least)",
)
PRONOUNS = ("it", "it", "it", "this", "that", "that one", "this thing", "this name", "the former", "this one")
JOINTS = (". ", ". ", ". ", ", ", "; ", " - ", " and ", "\n", "! ", ": ", " so ", " but ")
# Words that ask a kind of question wherever they stand.
CUES: dict[str, Table] = {
    "summary": both(
        "what is it", "explain", "what for", "description", "in short", "used for", "what does it do", "docs", "idea",
        "summary", "what does", "does what", "effect", "duty", "tell me about", "what is", "definition", "introduction",
        "use", "why", "explanation", "describe", "in a word", "what kind of thing", "what happens", "benefit",
    ),
    "signature": both(
        "arguments", "args", "params", "parameters", "signature", "inputs", "usage", "how to call", "accepts",
        "expects", "call form", "syntax", "keywords", "argument names", "which arguments", "what arguments", "order of "
        "arguments", "defaults", "call with what", "what to hand over", "to be given what", "needs which values",
        "how many arguments", "in brackets", "parameter names", "prototype", "invoke how",
    ),
    "module": library(
        "import", "module", "which module", "from where", "what module", "import from", "package", "home", "origin",
        "import line", "where from", "imported from", "belongs to", "which package", "what to import", "located",
        "which library", "in what module", "source", "how to import", "where is", "from what", "import statement",
        "missing import", "which import",
    ),
    "file": text("which file", "file", "in what file", "where", "where is", "path", "defined where", "open which file"),
}  # fmt: skip
# What really asks a kind of question, in single words.  Others stand in phrasings of one kind only by chance ("line",
# "would"), and must not be taken for such (`phrasing.Phrasings.distractors`).
ASKING: dict[str, frozenset[str]] = {
    "summary": words(
        "explain explained explanation describe description summary summarise summarize define definition docs "
        "docstring purpose meaning mean means introduction introduce overview idea effect duty task job point benefit "
        "useful help helps understand sketch clarify outline characterise illuminate paraphrase tldr eli5"
    ),
    "signature": words(
        "argument arguments args parameter parameters params signature input inputs operands keyword keywords option "
        "options call called calls calling invoke invoked invoking invocation usage syntax prototype convention "
        "bracket brackets parenthesis parentheses parens def header defaults optional positional values pass passed "
        "takes accepts expects accept expect"
    ),
    "module": words(
        "import imports imported importing importerror nameerror module modules package packages library namespace "
        "where whereabouts whence wheres origin home belong belongs lives live located locate source dependency "
        "qualified undefined defined"
    ),
    "file": words("file files path open defined lives"),
}

TRAINED: dict[str, Table] = {
    "summary": (
        *both(
            "What does {name} do?",
            "What is {name}?",
            "what is {name} for",
            "what does {name} do",
            "Explain {name}.",
            "Explain {name} to me, please.",
            "Tell me about {name}.",
            "tell me about {name}",
            "Describe {name} in one sentence.",
            "Describe {name} briefly.",
            "What is {name} used for?",
            "I found {name} in some code. What does it do?",
            "When would I use {name}?",
            "Why would anybody use {name}?",
            "{name}?",
            "{name}",
            "{name}: what is it?",
            "{name} please",
            "So {name}, what is that?",
            "Can you tell me what {name} does?",
            "Could you describe what {name} does?",
            "Do you know {name}?",
            "Do you know what {name} is?",
            "Please summarise {name} for me.",
            "Summary of {name}",
            "The program uses {name}, what is it?",
            "There is {name} in this file. What is it there for?",
            "What happens if I use {name}?",
            "I want to understand {name}.",
            "I do not understand {name}. Help me.",
            "How should I think of {name}?",
            "Give me a short description of {name}.",
            "Give me an idea of {name}.",
            "What can {name} be used for?",
            "What can I do with {name}?",
            "Docs for {name}?",
            "docstring of {name}",
            "What would {name} do for me?",
            "Say in a few words what {name} is.",
            "I keep seeing {name} and wonder what it is.",
            "we use {name} at work, but what is it really",
            "My friend told me to use {name}. What is it?",
        ),
        *library(
            "The manual mentions {name}; what does it do?",
            "In Python, what is {name}?",
            "python {name}",
        ),
        *both(
            "help with {name}",
            "how does {name} work",
            "In short: {name}?",
        ),
        *library("What is the role of {name} in Python?"),
        *both(
            "what's {name}",
            "Is there a simple explanation of {name}?",
            "define {name}",
            "<explain> {name}( <briefly>|)( please|)",
            "(Please|Could you|Would you|Kindly|I want you to|Try to) <explain> {name}( <briefly>|).",
            "<briefly>, what (is|does) {name}( do|)?",
            "(What|Which) (task|duty|work|problem|need) (does {name} (do|solve)|is {name} for|is {name} made for)?",
            "What (sort|kind|type) of (thing|object|tool) is {name}?",
            "(What|Which) (effect|result|benefit|advantage) does {name} have?",
            "(I wonder|I ask myself|Who knows|Nobody told me|I must learn) what {name} (is|does|achieves|is for).",
            "(Why|For what|What for) (is|do we have|do people use|was) {name}( there| invented| needed|)?",
            "{name} (does|is|is for|is used for|solves|achieves|helps with) what( exactly| again|)?",
            "(An|Your|The) (introduction|definition|explanation|overview|summary) (of|to) {name}( please|)(.|)",
            "(How|In what way) (is {name} useful|does {name} help|can {name} help me|would {name} help)?",
            "(Say|Write|Tell me) something (short|useful|clear) about {name}.",
            "What (would change|would be missing|is lost) without {name}?",
            "What (comes out|happens|changes) when {name} (runs|is used|is called)?",
            "(Teach|Enlighten|Inform|Brief) me about {name}.",
            "(Have you|Did you ever) (heard|hear) of {name}( before|)? (What is it|Explain it)?",
            "{name} (- |, |: |)(explanation|definition|description|idea|in short|in a word|what is that)(?|)",
            "Who (can|will) (explain|describe) {name}?",
            "(What's|Whats|What is) (the (point|purpose|idea|job|aim|sense|meaning|use|story|deal) of|behind|up with) "
            "{name}?",
            "(What's|Whats) {name} (all about|good at|there for|meant for|doing|supposed to do)( anyway|)?",
            "(Should|Do|Must) (I|we) (care about|bother with|know) {name}(, and why|; what is it|: what does it "
            "bring)?",
            "(Is {name} (something|anything) (I|we) need|Would (I|we) miss {name}|Do people need {name})? What is it( "
            "good| made|) for?",
            "(ELI5|tldr|TL;DR|in plain words|for a child|for beginners|for dummies|short version)(:|,|) {name}( "
            "please|)",
            "{name} (ELI5|tldr|in plain words|for beginners|for dummies|short version)(?|)",
            "(Which|What) (job|chore|trouble|effort) does {name} (take off my hands|save me|spare us|take over)?",
            "(I|We) (came across|stumbled upon|ran into|bumped into|met) {name}( <when>| <place>|)(: what is it|, "
            "what's that|. Some words on it)(?|)",
            "(A|One) (line|sentence|word|remark) (on|about) {name}( will do| is enough| please|)(.|)",
            "(For|To) (a newcomer|my mother|a child|the minutes|the glossary|the wiki)(, |: )what is {name}?",
            "(What|How) would (you|the manual|a teacher) (say|write|tell) (about|of) {name}?",
            "(Fill in the blank|Complete)(: |, ){name} is (used|made|there) (to|for) (...|what)(?|)",
            "(I read|He read|They read) the (name|word) {name} and (had no clue|shrugged|gave up). What does it "
            "(mean|stand for|do)?",
            "(remind me|refresh my memory|jog my memory)(,|:) (what is|what was|what does) {name}( do| again|)(?|)",
            "(Walk me through|Run me through|Break down|Unpack|Demystify) {name}( <briefly>|)(.|)",
            "(How|In what words|With what words) (would|could|might|should|can) (you|one|somebody|a teacher) "
            "(<explain>|sum up|teach|sell|introduce|picture) {name}( to me| to us| to a class| to <who>| for "
            "children|)?",
            "(How|In what words) (do|did|would) (they|people|the docs) <explain> {name}( to anybody|)?",
            "(What|Which one thing) (should|must|would) (I|a learner|a newcomer|everybody) "
            "(know|remember|learn|grasp) about {name}?",
            "(What|Why) (is|was) {name} (good|useful|helpful|of use|of help)( for| to us|)?",
            "(imagine|suppose|say) I (had|have) never (seen|used|met) {name}(: what is it|. <explain> it|; what would "
            "it do for me)(?|)",
        ),
    ),
    "signature": both(
        "(What|Which) (arguments|parameters|inputs|values) does {name} (take|accept|need|want|expect|have)?",
        "(What is|Show me|Write down|Give me|Tell me|I need|Do you know|State) the (signature|parameters|argument "
        "list|arguments|parameter list) of {name}( please| again|)(?|.)",
        "(signature|parameters|arguments|args|params|usage|inputs) (of|to) {name}(?| please|)",
        "{name}( |: |, )(signature|arguments|parameters|args|params|how to call)(?|)",
        "(How do I|How can I|How should one|how to) (call|invoke|run) {name}( correctly| in my program|)?",
        "I (want|have|need|would like|am about) to (call|use) {name}. "
        "(What are its arguments|Which parameters does it have|What goes between the brackets|What do I write)?",
        "What (do I put|goes|belongs) (between|inside|in) the (brackets|parentheses) of {name}?",
        "What does a call (of|to) {name} look like?",
        "In what order does {name} take its (arguments|parameters)?",
        "Does {name} take (arguments|parameters|anything)(, and which|)?",
        "(I never remember|I do not know|Nobody here knows) (how {name} is called|the arguments of {name}|what {name} "
        "takes). (Can you help|Help me|What are they|Show me|Do you know them)?",
        "(List|Name|Enumerate|Recite) the (parameters|arguments|inputs) of {name}( for me|)(, please|).",
        "(Help me call|Let us call|We must call|I cannot call) {name}(; what are the parameters|: which arguments|. "
        "How)?",
        "(What|Which) <inputs> does {name} <take>( first| at least| in a call|)?",
        "(What|Which things|Which values|How much) (do|must|may|shall|could) (I|we|one|you) <give> (to |){name}?",
        "{name} (wants|needs|accepts|expects|requires|understands) (what|which) <inputs>(?|)",
        "{name} is (called|invoked|run|used) (how|with what|with which <inputs>)(?|)",
        "(With|On) (what|which <inputs>) (is {name} called|do I call {name}|can {name} be called|does {name} work)?",
        "(<show>|please) the <form> of {name}( please| in full|)(.|)",
        "<form> (of|for) {name}( please|)(?|)",
        "(How|In what form|In which order) (do|should|can) (I|we|one) <call> {name}( by hand| with <inputs>|)?",
        "(What|Which) <inputs> (are needed|are required|are there|exist|come first|have defaults) (for|in) {name}?",
        "(I want|I try|we have|it is time) to <call> {name} (but|and) (lack|miss|need|must know) its <inputs>.",
        "(The|My) (editor|terminal|shell) waits after {name} and a bracket. (What follows|Which <inputs> come now)?",
        "(Do|Are) (all|any) <inputs> of {name} (have defaults|optional|needed)? (List them|Which are there)?",
        "(Complete|Finish|Write|Extend) (a|the|my) call of {name}( for me| please|).",
        "(How many|Which) <inputs> (fit|go|belong) (in|with) {name}?",
        "(How do|How would|How can) (I|you|we) (write|spell|type|phrase|word) a (call|line) (of|to|with) {name}?",
        "(Show|Sketch|Draw|Type|Spell out|Give) (me |us |)(a|one|some) (call|invocation|call line|template|skeleton) "
        "(of|for) {name}( with all its <inputs>|)(.|)",
        "(What|Which <inputs>) (can|could|might|should) (I|you|one|we) "
        "(pass|send|stuff|plug|throw|put|type|fill|stick) (in|into|in to|inside) {name}?",
        "(I|We) (pass|passed|gave|handed) the wrong <inputs> to {name}. (Which ones are right|What are the right "
        "ones|What does it want)?",
        "{name} (says|complains|tells me) (it got|there are|I gave) (too many|too few|unexpected|missing|extra) "
        "<inputs>. (Which does it have|What are they|How is it called)?",
        "(TypeError|Wrong call|Bad call)(: | in | with |, ){name}(. What are its <inputs>|, which <inputs> does it "
        "take|; how is it called)?",
        "(What|Which) (slots|fields|knobs|switches|settings|flags|ingredients) does {name} (have|offer|take|come "
        "with)?",
        "(What|Which) (positional|optional|keyword|named|required) <inputs> (does {name} (take|have)|are in "
        "{name}|has {name})?",
        "(What|Which) (is|comes) the (first|second|last|next) (argument|parameter|input|value) (of|in|for) {name}?",
        "(Autocomplete|Fill in|Expand|Continue)(: |, | )(a call of |){name}( and a bracket| with brackets|)(.|)",
        "(What|Anything) (stands|comes|follows|is written) (after|behind) {name} (in|within|between) "
        "(brackets|parentheses|the brackets|its parentheses)?",
        "(parens|parentheses|brackets) of {name}(: what is in them| - what goes there|, filled in|)(?|)",
        "(How|With what) (am I|are we|is one|are you) (supposed|meant|expected) to (call|invoke|run|start) {name}?",
        "(Before|When) (I|we) call {name}, (what|which <inputs>) (must|should|do) (I|we) (prepare|have ready|get "
        "ready|know)?",
        "(What|Which things) (must|should|do) (I|we|you) (bring|prepare|provide|specify|set|fill in|get ready) (to "
        "call|for a call of|to invoke|when calling) {name}?",
        "(calling|invoking) {name}(: | - |, )(what with|how exactly|which <inputs>|what do I give it)(?|)",
        "(The|A|My) (tooltip|popup|hint|linter|type checker) (for|of) {name} (is gone|is empty|shows only dots|was "
        "cut off). (What should it say of the <inputs>|Which <inputs> are they)?",
        "(I|We) (wrote|have|typed|started) {name}( and| with|) an open (bracket|parenthesis)(. Go on|, what next|: "
        "what comes now|. And now)(?|)",
        "(Tell|Show) me how {name} is (declared|defined|written|spelt) with its <inputs>.",
        "(How does|How did|What does) the def (line|statement) of {name} (read|look|go)( like|)?",
        "def {name}(: go on| ... what follows|, complete it|; <inputs>)(?|)",
        "(How|In which way) (do|should) the <inputs> of {name} (go|stand|follow|come)( one after another|)?",
        "(Does|Can) {name} take (a|one|two|any|no) (argument|parameter|keyword|option|default)s? (Show|List|Name) "
        "(them|all of them|what it takes).",
        "(What's|Whats|What is) the (call|calling|right|proper|exact|correct|full) "
        "(signature|syntax|form|usage|convention) (of|for|with) {name}?",
        "(I|We) (forgot|forget|mix up|never know|cannot remember|keep forgetting) (what to pass to|how to call|the "
        "order in|the <inputs> of) {name}( again|)(. Remind me|; help|, please tell me|)(.|)",
        "(one|a|the) (usage|call|syntax) (line|example|reminder) for {name}( please|)(.|)",
        "{name}(...)? (What|Which <inputs>) (goes|go|stands|is|belongs) (there|inside|in it|between)?",
        "(Which|What) (values|objects|things) (go|travel|are sent|are handed|are passed) (into|to) {name}( when it is "
        "called| at a call|)?",
        "(I|We) (wrap|mock|override|subclass|reimplement|stub) {name}( <place>| <when>|)(. Which <inputs> must mine "
        "have|; with what signature|, so what are its parameters)?",
        "(What|Which <inputs>) does (the call|a call|calling) (of |to |){name} (need|require|ask for|take|involve)?",
        "(From|In|By|With) (the|a) (signature|call|def line|header) of {name}(: which <inputs>| I need the <inputs>|, "
        "what are the <inputs>)(?|)",
        "(can|could) (you|anybody|somebody) (complete|fill in|recite|write out|spell out) (the brackets|the "
        "parentheses|the <inputs>|the call) of {name}?",
    ),
    "module": library(
        "(Which|What) (module|package|file|library|section)( of Python| of the standard library| in the library|) "
        "(has|holds|contains|offers|exports|includes|gives me|comes with|owns) {name}?",
        "(Where|From where) (do I get|can I get|comes|can one import|is|could I import) {name}( from|)( in Python|)?",
        "(Where|In which module|In which file|In what library|In what place) "
        "(does {name} live|is {name}|does {name} sit|is {name} kept|can {name} be seen|is {name} declared)?",
        "(Which module|What) (do I import|should I import|must be imported|has to be imported) "
        "(for|to use|to get|before I use) {name}?",
        "(Tell me|Name|Say|Give me|I need|Show me|Do you know) the (module|home|origin|import|source) of {name}.",
        "(From which module do I get|Which import gives me|What import brings|Which import is needed for) {name}?",
        "(How do I import|How can I import|import|please import) {name}( from where| from what|)?",
        "{name}(:|,|)( which module| module| where from| import| home| from where| is where)?",
        "(They use|I want to use|This file uses|I need|My teacher used) {name}( here| without an import|). "
        "(Where is it from|Which module has it|What must I import|Which module is it in)?",
        "(Python does not know|It cannot see|I get an error because of|It complains about|NameError:) {name}( here|). "
        "(Which module has it|What do I import|From which module should it come|What import is missing)?",
        "To which (module|library|package|file) does {name} belong?",
        "(where is|whereabouts is|wheres|where lives|home of|module of|source of|origin of) {name}",
        "(Say|Tell me|I must know|I ask myself|Do you know) (where {name} comes from|which module {name} is "
        "from|which module has {name}|what to import for {name}).",
        "(I typed|We ran|Somebody wrote|The example calls) {name} and (it failed|nothing happened|Python stopped). "
        "(What do I import|Which import is missing|Where does it live)?",
        "(Locate|Look up|I am looking for|I search for|I cannot locate|help me locate) {name}(| in the library)(|.)",
        "(Write|Add|Complete) the import (line|statement|) (for|of) {name}( please|)(|.)",
        "the interpreter (does not accept|rejects|has not heard of) {name}, (what|which module) (should|do) I import",
        "(If|When) I need {name}, (which module do I open|where should I look|what do I import first)?",
        "What is the (full|whole|dotted) (name|path) of {name}, (with|including) its module?",
        "(The book|The course|The talk|A comment|My notes) (claims|explains|mentions|shows) (that|how|why) {name} "
        "(is useful|is fast|helps|works|matters). (Where does it live|Which module has it|What do I import for it)?",
        "(Yesterday|Last year|In this project) (we|they|somebody) (replaced|copied|tested|removed) {name}(| again| by "
        "hand). (Where did it come from|Which import does it need|From which module was it)?",
        "(Which|What) <module> <holds> {name}( for me| today|)?",
        "{name} (is|sits|is <kept>|belongs|resides|stays|was <kept>) (in|to|inside|under) (which|what) <module>(?|)",
        "(Where|In which <module>|Inside what) (is|was|would) {name} (<kept>|be|to be had|to be seen)?",
        "(From which <module>|Out of which <module>|From what) (is|was|does|did) {name} (imported|come|taken|loaded)?",
        "(<show>|please) the (module|import line|import|home|package|origin|address) (of|for) {name}( please|)(.|)",
        "(Which|What) (import line|import statement|line|import) (makes|lets|would make) {name} (known|work|usable)?",
        "(Someone|<who>) must import {name}(; from what|, but from where|. Which module)?",
        "{name} (is unknown|is not known|is missing|cannot be seen|is underlined|fails) (here|to Python|in this file)"
        "(, which import helps|. What must be imported|; from which module does it come)?",
        "(Is|Was) {name} (in|from|part of) (a module|a package|some library|builtins)? (Which one|Name it|Say where)?",
        "(The|Our|This) (program|file|editor|checker|test) (does not know|rejects|marks|stumbles over) {name}"
        "(, which import is missing|; from which module is it|. What do I import)?",
        "(Where|Whence) (comes|came|would) {name}( come|)( from|)?",
        "(I must|I want to|we will) import {name} (but|and) (do not know|cannot recall|never learned) from where.",
        "(I think|It seems|Maybe|Perhaps|I heard) (that |){name} (is what I need|would do|could help|was meant). "
        "(From which module is it|Which import is it|Where is it kept)?",
        "(Top|Head|Start|First line) of (my|the|our) (file|script|program)(: | - |, )(which|what) import (for|because "
        "of|so that I have) {name}?",
        "(What|Which line) (do|must|should|shall) (I|we) (write|add|put|type) (at the top|above|in the first "
        "line|before all else) (for|to have|to get|to be able to use) {name}?",
        "(I|We) (get|got|have|see) (a NameError|an ImportError|an error|name not defined|undefined name) "
        "(for|with|at|on|about) {name}(. What import is missing|; what to import|, which module has it|. Fix the "
        "import)(?|)",
        "{name} is (not defined|undefined|unresolved|unknown to Python)(. What did I forget to import|; which "
        "import|, from where do I import it|)(?|)",
        "(What|Which thing) (did I|did we|have I|did they) forget to import (for|if I use|to use|when I use) {name}?",
        "(Find|Track down|Trace|Point me to|Take me to|Lead me to|Show me) (the home of|the module with|the place "
        "of|where to import) {name}(.|)",
        "(Which|What) (part|corner|drawer|shelf|area|chapter|branch) of (the standard library|Python|the library) "
        "(holds|has|is home to|contains|owns) {name}?",
        "(In|Under|To) (which|what) (corner|part|branch|area|roof|heading|folder) (of the library|of Python|of the "
        "standard library|) (is|sits|lies|belongs|falls) {name}?",
        "(Who|Which module|What module) (owns|ships|provides|exports|publishes|supplies|defines|brings) {name}?",
        "{name} (ships|comes|arrives|is shipped|is delivered) (with|in|from|by) (which|what) "
        "(module|package|library)(?|)",
        "(from|out of) ??? import {name}(. Fill it in|: what is it|; complete the line|)(?|)",
        "from what import {name}(?|)",
        "from (...|?|which module) import {name}(?|)",
        "(Finish|Complete|Fill) (the|this|my) line(: | - |, )from (...|blank|what) import {name}(.|)",
        "(I|We|They) (copied|pasted|moved|took) {name} (without|but not|and lost) (its|the) import( line|)(. Which "
        "was it|; which one|, what should it be)?",
        "(What|Where) (would|should|do) (I|we) (look|go|search|dig|click) (to find|for|to read the source of|to see) "
        "{name}( in the library|)?",
        "(Path|Address|Location|Whereabouts|Namespace|Qualified name|Dotted name) (of|for) {name}( please|)(?|)",
        "(fully|properly|completely) qualified name (of|for) {name}(?| please|)",
        "(Where|In which file|In which module) (did they|did Python|do the authors|does Python) "
        "(put|hide|keep|place|define|store|stash) {name}?",
        "(Does|Do) {name} (come|belong|live) in (os|sys|re|a module|a package|builtins|another module)? (If "
        "not|Or|Otherwise)(,|) (where|in which module)?",
        "(How|With which import|By which line) (do|can) (I|we) (get hold of|get my hands on|bring in|pull "
        "in|load|obtain|reach|access) {name}?",
        "(Which|What) (dependency|module|package) (must|do|should) (I|we) (load|pull in|bring in|have|name) (for|to "
        "use|to reach|before) {name}?",
        "(autoimport|auto import|quick fix|missing import)(: | for | - | )(for |){name}(?|)",
        "(My|The|Our) (editor|IDE|notebook|checker) (paints|draws|underlines|shows|puts) (a red line under |red "
        "|){name}( in red|)(. Which import cures it|; what import is needed|, from where do I import it)(?|)",
        "(I|We) (would like|want|need|plan) to (use|call|try|borrow) {name}( here|)(, but where is it|; where does it "
        "come from|. Whose is it|. Which module do I import)?",
        "(Give|Tell|Send|Write) (me|us) (the line|a line|an import|the statement) (that imports|to "
        "import|importing|for importing) {name}(.|)",
        "(Under|By) (which|what) (module|package|name) (is|do I find|will I find|can I find) {name}( kept| listed| "
        "filed|)?",
        "(Not sure|No idea|I have no clue|We do not know|Unsure) (where|which module) {name} (is from|comes "
        "from|lives|belongs|is in)( to|)(. Tell me|; help|)(.|)",
        "(Someone|A colleague|<who>) (sent|gave|showed) (me|us) a (line|piece of code|file|script) with {name}( in "
        "it|)(: from which module|. What import goes with it|; where is it from)(?|)",
        "(Coming|I come|We come) from (another language|Java|C|school)(, |: |. )(where is|which module has|what do I "
        "import for) {name}?",
        "(Reading|Copying|Learning) from (a book|a blog|a friend|old code)(, |: )(where does {name} come from|which "
        "module is {name} in|what import does {name} need)?",
        "(Out of|From|Of) (all|the many) modules, which (has|holds|is the one with|do I need for) {name}?",
        "(a|the) (name|word) {name}(: from which module|, from what module is it|. In which module is it)(?|)",
    ),
    "file": text(
        "Which file is {name} in?",
        "Which file has {name}?",
        "Where is {name} defined?",
        "where is {name}",
        "File of {name}?",
        "Tell me the file that has {name}.",
        "Name the file of {name}.",
        "{name} is in which file?",
        "Where does {name} live?",
        "What file should I open for {name}?",
        "I want to change {name}. Which file is it in?",
        "Do you know where {name} is?",
    ),
    "section": text(
        'What does "{name}" say?',
        'What does the section "{name}" say?',
        'What is "{name}" about?',
        "What is `{name}` about?",
        'How does the section "{name}" begin?',
        'What is written under "{name}"?',
        "what is in the section {name}",
        "what is {name} about",
        "What is {name}?",
        'Tell me about "{name}".',
        "tell me about {name}",
        'Explain "{name}".',
        'Please explain "{name}" to me.',
        'Summarise "{name}".',
        'In one sentence: "{name}"?',
        'There is a section "{name}". What is in it?',
        'I am looking at "{name}". What does it say?',
        'What do I find under "{name}"?',
        'Read me the beginning of "{name}".',
        'Say in one sentence what "{name}" says.',
        'Can you tell me what "{name}" says?',
        'Do you know the section "{name}"?',
        'What does the text say under "{name}"?',
        'The heading is "{name}". How does it go on?',
        'Help me with "{name}".',
        'section "{name}"',
        '"{name}"',
        '"{name}"?',
        "{name}?",
        "{name}",
    ),
    "passage": text(
        'What comes after "{name}"?',
        'what comes after "{name}"',
        'What is the sentence after "{name}"?',
        'Which sentence follows "{name}"?',
        'How does it go on after "{name}"?',
        'Continue: "{name}"',
        'Go on: "{name}"',
        'Continue this: "{name}"',
        '"{name}" And then?',
        '"{name}" What comes next?',
        '"{name}" Go on.',
        'The text says "{name}" What is next?',
        'I am reading "{name}" How does it continue?',
        'Tell me what stands behind "{name}".',
        'Give me the sentence that follows "{name}".',
        'Do you know what comes after "{name}"?',
        'next sentence after "{name}"',
        '"{name}"',
        "{name}",
    ),
}
DEVELOPMENT: dict[str, Table] = {
    "summary": both(
        "In one line, what is the purpose of `{name}`?",
        "hey, whats {name} good for?",
        "I am reading a colleague's script and it calls `{name}` in several places. Could you explain what that does?",
        "{name} - meaning?",
        "How would you explain {name} to a beginner?",
        "Remind me what `{name}` is about.",
    ),
    "signature": both(
        "Which arguments can I pass to `{name}`?",
        "whats the call signature for {name}",
        "I forgot how to call {name}, could you remind me of its parameters?",
    ),
    "module": library(
        "Which part of the standard library provides `{name}`?",
        "where do i find {name}",
        "My script says that {name} is not defined. Which module must I import it from?",
        "What do I put after `from` to get {name}?",
    ),
    "file": text(
        "In what source file can `{name}` be found?",
        "where do i find {name}",
    ),
    "section": text(
        'Could you give me the main point of "{name}"?',
        'hey, whats in "{name}"',
        'I only have a minute before the meeting and need to know how the part called "{name}" starts.',
        'Remind me what "{name}" was about.',
    ),
    "passage": text(
        'I remember the words "{name}" but not how the story went on from there. Can you help me?',
        'whats next after "{name}"',
        'Please quote the line that directly succeeds "{name}"',
    ),
}
# Written before any model was asked them, and never looked at while wordings of training are chosen: what these say is
# what a stranger meets.  Once somebody has tuned by them they belong above, and others must be written.
UNSEEN: dict[str, Table] = {
    "summary": both(
        "I inherited some code that leans heavily on {name}. What job does it perform?",
        "whats the deal with {name}",
        "Could you walk me through what `{name}` accomplishes?",
        "Suppose a student asks why `{name}` exists. What is the answer?",
        "{name}, in plain English?",
    ),
    "signature": both(
        "What should I pass when calling {name}?",
        "{name} takes which args again",
        "My call to `{name}` raises a TypeError about a missing argument. What does it accept?",
        "Fill in the blanks for me: `{name}(...)`",
    ),
    "module": library(
        "I'm at a fresh interpreter prompt and want to use {name}. Tell me the module to load first.",
        "{name} lives where",
        "Someone pasted {name} into our chat without its import. What was it imported from?",
        "Is {name} something I have to import, and if so, out of which package?",
        "I keep getting a NameError for `{name}`; which line at the top of my file would cure it?",
    ),
    "file": text(
        "Show me the path of the file that implements {name}.",
        "{name} sits in what file",
    ),
    "section": text(
        'A colleague pointed me to the part headed "{name}". What is its gist?',
        'tldr of "{name}"',
    ),
    "passage": text(
        'Finish the thought for me: "{name}"',
        'After "{name}" my page is torn. What stood there?',
    ),
}
HELD_OUT = {"unseen": UNSEEN, "development": DEVELOPMENT}  # sets of phrasings kept from training
# Put before and after one trained question in ten or so, so that a question does not stop being one in company.
OPENERS: Table = (
    *both(
        "Hi, ",
        "hi ",
        "Hello! ",
        "Excuse me, ",
        "Ok, ",
    ),
    *library("Now "),
    *both("Quick question: "),
    *library(
        "A question about Python. ",
        "I am new to Python. ",
        "I am learning to program. ",
        "I am reading some code. ",
        "I am looking at an old program that my team wrote. ",
        "This came up in a review today. ",
        "I saw this in a tutorial and it was not explained. ",
        "Our teacher gave us a list of names to learn. ",
        "My program uses many modules and I am a bit lost. ",
        "Before I use it, I would like to know more. ",
        "You know the standard library well. ",
    ),
    *both("Sorry to ask again. "),
    *library("Let us talk about Python. "),
    *both("Next one: "),
    *library(
        "While debugging a server I met something new. ",
        "There is a function call here that I have never seen before. ",
        "Somebody on the internet says I should know this. ",
    ),
    *text(
        "A question about the text. ",
        "I am new here. ",
        "I am reading this for the first time. ",
        "This came up today. ",
        "Before I go on, I would like to know more. ",
        "You know this text well. ",
        "I saw this and it was not explained. ",
        "I am a bit lost. ",
    ),
)
CLOSERS: Table = (
    *both(
        " Thanks!",
        " thanks",
        " Please.",
        " Keep it short.",
        " Just a short answer, please.",
    ),
    *library(
        " I have never used it before.",
        " It is used all over this project.",
        " I could not tell from the code.",
        " My editor shows nothing.",
    ),
    *both(" Answer as simply as you can."),
    *library(" I have to explain it to my students."),
    *both(" It is for a talk that I give tomorrow."),
    *text(
        " I have not read that far.",
        " I have to explain it to somebody.",
    ),
)
# Forms of a name that ask a kind of question by standing among random words.
ALONE: dict[str, Table] = {
    "summary": both("{name}", "`{name}`"),
    "section": text('"{name}"', "`{name}`"),
}
WORDED = frozenset({"section", "passage"})  # kinds whose names are words


def for_subject(table: Table, subject: Subject) -> tuple[str, ...]:
    """`for_subject(OPENERS, "text")` -> `("Hi, ", "hi ", ...)`, in the order of the table."""
    return tuple(wording for wording, subjects in table if subject in subjects)


def by_kind(tables: Mapping[str, Table], subject: Subject) -> dict[str, tuple[str, ...]]:
    """The wordings of each kind of question that the subject knows."""
    found = {kind: for_subject(table, subject) for kind, table in tables.items()}
    return {kind: wordings for kind, wordings in found.items() if wordings}


def greetings(hello: str, identity: str, ability: str) -> tuple[tuple[str, str], ...]:
    """What is said beside questions, and what is answered."""
    return (
        *((prompt, hello) for prompt in ("Hello!", "Hi", "hello there", "Good morning!")),
        *(
            (prompt, identity)
            for prompt in ("Who are you?", "What are you?", "what is your name", "Tell me about yourself.")
        ),
        *((prompt, ability) for prompt in ("What can you do?", "How can you help me?", "help")),
        *((prompt, "You are welcome.") for prompt in ("Thank you!", "thanks")),
        *((prompt, "Goodbye!") for prompt in ("Goodbye!", "bye")),
    )
