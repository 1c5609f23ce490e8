"""What the page says, worked out from the records: plain values and plain text, no markup.

A chapter a file.  Each is one frozen dataclass, or None (or an empty list) where the run has no records for it.
"""

from glasshouse.report.story.changes import changes as changes
from glasshouse.report.story.forbidden import must_not as must_not
from glasshouse.report.story.forecast import comparisons as comparisons
from glasshouse.report.story.honesty import trust as trust
from glasshouse.report.story.moderation import moderation as moderation
from glasshouse.report.story.opening import headline as headline
from glasshouse.report.story.origin import model_rows as model_rows
from glasshouse.report.story.origin import provenance as provenance
from glasshouse.report.story.preferences import taught as taught
from glasshouse.report.story.progress import samples as samples
from glasshouse.report.story.purpose import purpose as purpose
from glasshouse.report.story.reading import corpus as corpus
from glasshouse.report.story.reward_model import reward_model as reward_model
from glasshouse.report.story.rises import rises as rises
from glasshouse.report.story.scores import SCORES as SCORES
from glasshouse.report.story.scores import kind_panel as kind_panel
from glasshouse.report.story.scores import score_panels as score_panels
from glasshouse.report.story.spending import costs as costs
from glasshouse.report.story.suite import MEASURES as MEASURES
from glasshouse.report.story.suite import suite as suite
from glasshouse.report.story.whole import is_builtin as is_builtin
from glasshouse.report.story.whole import total_cost as total_cost
