"""A fuzz target (atheris) for the command's inputs: ``aefast score`` ends any table with an exit code and one line.

python tests/fuzz/fuzz_tables.py CORPUS [libFuzzer options]
"""

import random
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["aefast"]):
    import hostile


def mutate(content: bytes, max_size: int, seed: int) -> bytes:
    if len(content) > 3 and seed % 2:
        return hostile.changed_table(content, random.Random(seed))
    return bytes(atheris.Mutate(content, max_size))


if __name__ == "__main__":
    corpus = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(hostile.table_seeds(Path(folder)) if corpus.is_dir() else ()):
            (corpus / f"table{number}").write_bytes(seed)
        atheris.Setup(
            sys.argv, lambda content: hostile.check_table(content, Path(folder)) and None, custom_mutator=mutate
        )
        atheris.Fuzz()
