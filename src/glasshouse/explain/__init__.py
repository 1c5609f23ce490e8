"""Look inside: lead an answer back to the training text it came from."""

from glasshouse.explain.examples import Example as Example
from glasshouse.explain.examples import ExampleIndex as ExampleIndex
from glasshouse.explain.examples import Near as Near
from glasshouse.explain.examples import example_of as example_of
from glasshouse.explain.examples import index_examples as index_examples
from glasshouse.explain.index import Continuations as Continuations
from glasshouse.explain.index import TraceIndex as TraceIndex
from glasshouse.explain.index import build_index as build_index
from glasshouse.explain.trace import NextToken as NextToken
from glasshouse.explain.trace import Place as Place
from glasshouse.explain.trace import Quotation as Quotation
from glasshouse.explain.trace import Trace as Trace
from glasshouse.explain.trace import TraceConfig as TraceConfig
from glasshouse.explain.trace import next_tokens as next_tokens
from glasshouse.explain.trace import trace as trace
