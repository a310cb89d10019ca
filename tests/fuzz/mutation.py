"""How the targets change files that only a correct digest lets in."""

import random
import struct
from collections.abc import Callable

import atheris


def mutator(changed: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, int, int], bytes]:
    """Return a mutator for libFuzzer: ``changed``, which corrects the digest, and now and then any change of bytes."""

    def mutate(content: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        try:
            if rng.random() < 0.9:
                return changed(content, rng)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error):
            pass  # no longer a file that can be taken apart
        return bytes(atheris.Mutate(content, max_size))

    return mutate
