"""Ids into mixed, packed, resumable tensors."""

from glasshouse.batch.conversations import ConversationConfig as ConversationConfig
from glasshouse.batch.conversations import ConversationLoader as ConversationLoader
from glasshouse.batch.conversations import ConversationReport as ConversationReport
from glasshouse.batch.conversations import EncodedConversation as EncodedConversation
from glasshouse.batch.conversations import encode_conversations as encode_conversations
from glasshouse.batch.conversations import pack as pack
from glasshouse.batch.cursor import Cursor as Cursor
from glasshouse.batch.cursor import Loader as Loader
from glasshouse.batch.lm_batch import LMBatch as LMBatch
from glasshouse.batch.packed import PackedLoader as PackedLoader
from glasshouse.batch.packed import Source as Source
from glasshouse.batch.shard import EncodedDocument as EncodedDocument
from glasshouse.batch.shard import Location as Location
from glasshouse.batch.shard import TokenShard as TokenShard
from glasshouse.batch.shard import encode_documents as encode_documents
from glasshouse.batch.shard import write_shard as write_shard
