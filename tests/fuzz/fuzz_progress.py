"""A fuzz target (atheris) for saved progress: training and scoring resume from it, or name it in an error.

python tests/fuzz/fuzz_progress.py CORPUS [libFuzzer options]
"""

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["aefast"]):
    import hostile_progress as hostile

from mutation import mutator

if __name__ == "__main__":
    corpus = Path(next(word for word in sys.argv[1:] if not word.startswith("-")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, seed in enumerate(hostile.seeds(folder) if corpus.is_dir() else ()):
            (corpus / f"progress{number}").write_bytes(seed)
        atheris.Setup(
            sys.argv, lambda content: hostile.check(content, folder) and None, custom_mutator=mutator(hostile.changed)
        )
        atheris.Fuzz()
