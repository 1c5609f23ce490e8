"""Running model-written Python behind walls."""

from glasshouse.evals.sandbox.sandbox import Limits as Limits
from glasshouse.evals.sandbox.sandbox import Outcome as Outcome
from glasshouse.evals.sandbox.sandbox import SandboxError as SandboxError
from glasshouse.evals.sandbox.sandbox import describe_protection as describe_protection
from glasshouse.evals.sandbox.sandbox import run_many as run_many
from glasshouse.evals.sandbox.sandbox import run_program as run_program
