"""A model as two files: its parameters, and one readable program that runs them."""

from glasshouse.infer.standalone.export import export_standalone as export_standalone
