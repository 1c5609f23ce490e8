"""What every stage shares and nothing else: strict config, errors, records, run directories, seeds, atomic files."""
