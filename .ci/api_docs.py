"""The API reference, built by pdoc from the docstrings of every public name, without a warning.

.ci/api_docs.py DIR

Names of a package are loaded when they are first used; pdoc sees those that are there.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
import typing
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pdoc

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ["seedance_async", "seedance_async.sandbox"]
PLUGIN = "seedance_async.sandbox.pytest_plugin"


def main(directory: Path) -> None:
    """Build all pages; raises on a warning, a missing docstring, or an annotation that means nothing."""
    warnings.simplefilter("error")
    pages = [*PACKAGES, PLUGIN, *integrations()]
    load_all_names()
    found = [member for page in pages for member in callables(page)]
    undocumented = [member.fullname for member in found if not member.docstring]
    assert not undocumented, f"without a docstring: {undocumented}"
    own = [member for member in found if member.modulename in PACKAGES]
    meaningless = [reason for member in own if (reason := unresolved(member))]
    assert not meaningless, "\n".join(meaningless)
    pdoc.pdoc(*pages, output_directory=directory)
    print(f"API reference: {len(pages)} modules, {len(found)} classes and functions, no warning")


def integrations() -> list[str]:
    """The public modules for other frameworks, where there are any."""
    if find_spec("seedance_async.integrations") is None:
        return []
    package = import_module("seedance_async.integrations")
    return [
        f"{package.__name__}.{module.name}"
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    ]


def load_all_names() -> None:
    """Put what a package loads lazily where pdoc looks for it."""
    for name in PACKAGES:
        module = import_module(name)
        for public in module.__all__:
            setattr(module, public, getattr(module, public))


def callables(page: str) -> Iterator[pdoc.doc.Class | pdoc.doc.Function]:
    """The public classes and functions of a module, and the public methods of its own classes."""
    module = pdoc.doc.Module(import_module(page))
    for member in [*module.classes, *module.functions]:
        if not member.name.startswith("_"):
            yield member
            if isinstance(member, pdoc.doc.Class):
                yield from (
                    method
                    for method in [*member.methods, *member.classmethods, *member.staticmethods]
                    if method.taken_from[0].startswith("seedance_async") and not method.name.startswith("_")
                )


def unresolved(member: pdoc.doc.Class | pdoc.doc.Function) -> str | None:
    """Why the annotations of a class's constructor, or of a function, mean nothing; None if they do."""
    callable_ = member.obj.__init__ if isinstance(member, pdoc.doc.Class) else inspect.unwrap(member.obj)
    try:
        typing.get_type_hints(getattr(callable_, "__func__", callable_))
    except (NameError, TypeError) as error:
        return f"{member.fullname}: {error}"
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
