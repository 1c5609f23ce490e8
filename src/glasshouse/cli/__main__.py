"""`python -m glasshouse.cli` is `glass`: what torchrun starts in every process."""

from glasshouse.cli.main import main

main()
