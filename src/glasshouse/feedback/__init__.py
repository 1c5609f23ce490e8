"""Human judgement as data: guidelines, demonstrations, rankings, agreement.

The store is imported from `glasshouse.feedback.store`: it alone needs the extra `feedback`.
"""

from glasshouse.feedback.campaign import Campaign as Campaign
from glasshouse.feedback.campaign import Candidate as Candidate
from glasshouse.feedback.campaign import Criterion as Criterion
from glasshouse.feedback.campaign import Item as Item
from glasshouse.feedback.campaign import Task as Task
from glasshouse.feedback.exchange import read_demonstrations as read_demonstrations
from glasshouse.feedback.exchange import read_items as read_items
from glasshouse.feedback.exchange import read_preferences as read_preferences
from glasshouse.feedback.exchange import read_rankings as read_rankings
from glasshouse.feedback.exchange import read_thumbs as read_thumbs
from glasshouse.feedback.exchange import write_conversations as write_conversations
from glasshouse.feedback.exchange import write_preferences as write_preferences
from glasshouse.feedback.exchange import write_rankings as write_rankings
from glasshouse.feedback.exchange import write_records as write_records
from glasshouse.feedback.exchange import write_thumbs as write_thumbs
from glasshouse.feedback.label import Label as Label
from glasshouse.feedback.problems import ConflictError as ConflictError
from glasshouse.feedback.problems import KeyRefusedError as KeyRefusedError
from glasshouse.feedback.problems import LabelError as LabelError
from glasshouse.feedback.problems import NotAllowedError as NotAllowedError
from glasshouse.feedback.problems import NotThereError as NotThereError
from glasshouse.feedback.records import preferences_of as preferences_of
