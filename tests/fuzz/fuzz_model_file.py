"""A fuzz target (atheris) for `aefast.load`: a file with a correct digest either works or raises ModelFileError.

    python tests/fuzz/fuzz_model_file.py CORPUS [libFuzzer options]

Most mutations change single values and correct the digest, so that they get past it.
"""

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["aefast"]):
    import hostile

from mutation import mutator

if __name__ == "__main__":
    corpus = Path(next(word for word in sys.argv[1:] if not word.startswith("-")))
    for number, seed in enumerate(hostile.model_seeds() if corpus.is_dir() else ()):
        (corpus / f"model{number}").write_bytes(seed)
    atheris.Setup(
        sys.argv, lambda content: hostile.check_model(content) and None, custom_mutator=mutator(hostile.forged)
    )
    atheris.Fuzz()
