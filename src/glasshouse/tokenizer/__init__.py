"""Text to ids and back, learned from a corpus; conversations to ids and a loss mask."""

from glasshouse.tokenizer.chat import ChatTemplate as ChatTemplate
from glasshouse.tokenizer.chat import EncodedChat as EncodedChat
from glasshouse.tokenizer.chat import count_targets as count_targets
from glasshouse.tokenizer.jinja import JinjaTemplate as JinjaTemplate
from glasshouse.tokenizer.measure import Density as Density
from glasshouse.tokenizer.measure import measure_density as measure_density
from glasshouse.tokenizer.measure import readable as readable
from glasshouse.tokenizer.measure import summarise as summarise
from glasshouse.tokenizer.patterns import PATTERNS as PATTERNS
from glasshouse.tokenizer.show import show_tokens as show_tokens
from glasshouse.tokenizer.stream import IncrementalDecoder as IncrementalDecoder
from glasshouse.tokenizer.tokenizer import SPECIAL_TOKENS as SPECIAL_TOKENS
from glasshouse.tokenizer.tokenizer import Token as Token
from glasshouse.tokenizer.tokenizer import Tokenizer as Tokenizer
from glasshouse.tokenizer.tokenizer import TrainingRecord as TrainingRecord
from glasshouse.tokenizer.training import TokenizerConfig as TokenizerConfig
from glasshouse.tokenizer.training import train_tokenizer as train_tokenizer
