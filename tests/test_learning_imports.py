"""Every module of the learner's torch part can be imported with whichever numpy the run has (`make test-numpy-2`)."""

import importlib
import pkgutil

import adaptation.learning


def test_every_module_of_learning_is_imported() -> None:
    names = [found.name for found in pkgutil.walk_packages(adaptation.learning.__path__, "adaptation.learning.")]
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
    assert "adaptation.learning.rounds.run" in names
