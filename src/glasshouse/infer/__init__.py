"""Ids to ids, many requests at once."""

from glasshouse.infer.chat import ChatSession as ChatSession
from glasshouse.infer.chat import Turn as Turn
from glasshouse.infer.chat import chat_ids as chat_ids
from glasshouse.infer.engine import Completion as Completion
from glasshouse.infer.engine import Delta as Delta
from glasshouse.infer.engine import Engine as Engine
from glasshouse.infer.location import model_folder as model_folder
from glasshouse.infer.sampling import SamplingConfig as SamplingConfig
