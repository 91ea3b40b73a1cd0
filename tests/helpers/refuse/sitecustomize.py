"""A process with this folder in PYTHONPATH cannot import the packages that REFUSED names."""

import os
import sys


class Refuse:
    names = frozenset(os.environ.get("REFUSED", "").split())

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in cls.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Refuse)
