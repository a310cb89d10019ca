"""Check with numpydoc that the documented objects name all parameters, with types, and what they return.

    python docs/check_docstrings.py FOLDER

FOLDER holds the built HTML, whose inventory lists the objects.
"""

import sys
import zlib
from pathlib import Path

from numpydoc.validate import validate

CHECKS = {"PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03", "SS03", "SS06", "YD01"}
#: Objects that estimators hold; their methods are described with the estimators.
HELD = ("aefast.model.", "aefast.columns.", "aefast.scoring.")


def documented(folder):
    """Return the names of the documented classes, functions and methods."""
    content = (folder / "objects.inv").read_bytes().split(b"\n", 4)[4]
    lines = [line.split() for line in zlib.decompress(content).decode().splitlines()]
    roles = {"py:class", "py:exception", "py:function", "py:method"}
    return sorted({name for name, role, *_ in lines if role in roles and not name.startswith(HELD)})


def faults_of(name):
    """Return what numpydoc finds wrong with an object; variants refer to the parameters of `Autoencoder`."""
    try:
        found = validate(name)
    except OSError:  # it has no source: it is the standard library's, like the methods of mappings
        return []
    left_out = {"PR01", "PR02"} if "**parameters" in found["docstring"] or name.endswith(".Schedule") else set()
    return [f"{name}: {text}" for code, text in found["errors"] if code in CHECKS - left_out]


def main():
    names = documented(Path(sys.argv[1]))
    faults = [fault for name in names for fault in faults_of(name)]
    for fault in faults:
        print(fault)
    print(f"{len(names)} docstrings checked, {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
