"""Ids to ids, many requests at once."""

from glasshouse.infer.background import BackgroundEngine as BackgroundEngine
from glasshouse.infer.background import EngineStopped as EngineStopped
from glasshouse.infer.background import QueueFull as QueueFull
from glasshouse.infer.chat import ChatSession as ChatSession
from glasshouse.infer.chat import Turn as Turn
from glasshouse.infer.chat import chat_ids as chat_ids
from glasshouse.infer.doubt import Doubt as Doubt
from glasshouse.infer.doubt import write_doubt as write_doubt
from glasshouse.infer.engine import Engine as Engine
from glasshouse.infer.engine import EngineStats as EngineStats
from glasshouse.infer.location import model_folder as model_folder
from glasshouse.infer.sampling import SamplingConfig as SamplingConfig
from glasshouse.infer.sequence import Completion as Completion
from glasshouse.infer.sequence import Delta as Delta
from glasshouse.infer.sequence import FinishReason as FinishReason
from glasshouse.infer.sequence import Sequence as Sequence
from glasshouse.infer.tails import Tail as Tail
from glasshouse.infer.tails import TailScore as TailScore
