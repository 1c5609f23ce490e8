"""How far a model can be trusted: one probe a file, each giving scores with intervals, and examples."""

from glasshouse.evals.trust.policy import read_policy as read_policy
from glasshouse.evals.trust.probe import Example as Example
from glasshouse.evals.trust.probe import Finding as Finding
from glasshouse.evals.trust.probe import Probe as Probe
from glasshouse.evals.trust.probe import Subject as Subject
from glasshouse.evals.trust.suite import PROBES as PROBES
from glasshouse.evals.trust.suite import TrustConfig as TrustConfig
from glasshouse.evals.trust.suite import run_probes as run_probes
from glasshouse.evals.trust.suite import write_findings as write_findings
from glasshouse.evals.trust.verbatim import Contains as Contains
from glasshouse.evals.trust.verbatim import ShardSearch as ShardSearch
