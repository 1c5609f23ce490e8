"""What can be wrong with a campaign or a label, sorted by what the sender can do about it."""

from glasshouse.core.errors import DataError


class NotThereError(DataError):
    """A campaign, prompt or annotator that does not exist, or is gone."""


class LabelError(DataError):
    """A label that says nothing usable: it contradicts itself, is incomplete, or is of another kind."""


class ConflictError(DataError):
    """What was sent is in order, but something else stands in its place already."""


class KeyRefusedError(DataError):
    """No annotator has this key, or it was revoked."""


class NotAllowedError(DataError):
    """An annotator asks for what only a reviewer or the owner may do."""
