"""Every example in a docstring runs, and gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import mmkd_classroom

MODULES = [
    module.name
    for module in pkgutil.walk_packages(mmkd_classroom.__path__, 'mmkd_classroom.')
    if not module.name.endswith('__main__')
]


def examples_in(name: str) -> list[doctest.DocTest]:
    module = importlib.import_module(name)
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return [test for test in found if test.examples]


@pytest.mark.parametrize('name', MODULES)
def test_examples_of_a_module(name):
    import torch

    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples_in(name):
        test.globs['torch'] = torch
        runner.run(test)
    assert not runner.failures


def test_there_are_examples():
    assert sum(len(examples_in(name)) for name in MODULES) >= 8
