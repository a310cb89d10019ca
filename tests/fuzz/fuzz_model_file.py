"""A fuzz target (atheris) for `aefast.load`: whatever is signed as a model works or is refused as none.

    python tests/fuzz/fuzz_model_file.py CORPUS [libFuzzer options]

Most changes are of single values and signed anew, so that they get past the digest.
"""

import random
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["aefast"]):
    import hostile


def mutate(content: bytes, max_size: int, seed: int) -> bytes:
    rng = random.Random(seed)
    try:
        if rng.random() < 0.9:
            return hostile.forged(content, rng)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, hostile.struct.error):
        pass  # no longer a file that can be taken apart
    return bytes(atheris.Mutate(content, max_size))


if __name__ == "__main__":
    corpus = Path(next(word for word in sys.argv[1:] if not word.startswith("-")))
    for number, seed in enumerate(hostile.model_seeds() if corpus.is_dir() else ()):
        (corpus / f"model{number}").write_bytes(seed)
    atheris.Setup(sys.argv, lambda content: hostile.check_model(content) and None, custom_mutator=mutate)
    atheris.Fuzz()
