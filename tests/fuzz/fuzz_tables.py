"""A fuzz target (atheris) for the command's inputs: any table gives an exit code and at most one line.

python tests/fuzz/fuzz_tables.py CORPUS [libFuzzer options]
"""

import random
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["aefast"]):
    import hostile_tables as hostile


def mutated(content: bytes, max_size: int, seed: int, folder: Path) -> bytes:
    rng = random.Random(seed)
    kind = rng.random()
    if kind < 0.5:
        return hostile.strange_file(rng, folder)
    if len(content) > 3 and kind < 0.8:
        return hostile.changed_table(hostile.for_command(content, rng.randrange(hostile.N_QUICK)), rng)
    return bytes(atheris.Mutate(content, max_size))


if __name__ == "__main__":
    corpus = Path(next(word for word in sys.argv[1:] if not word.startswith("-")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, seed in enumerate(hostile.table_seeds(folder) if corpus.is_dir() else ()):
            (corpus / f"table{number}").write_bytes(seed)
        atheris.Setup(
            sys.argv,
            lambda content: hostile.check_table(content, folder) and None,
            custom_mutator=lambda content, max_size, seed: mutated(content, max_size, seed, folder),
        )
        atheris.Fuzz()
