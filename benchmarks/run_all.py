"""`make bench`: every benchmark, one after the other, nothing beside it."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "first_life.py", "vs_nanogpt.py", "engine.py", "learning_from_people.py", "glass.py", "fast_and_far.py"
)  # fmt: skip


def main() -> None:
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(script)), *sys.argv[1:]], check=False)


if __name__ == "__main__":
    main()
