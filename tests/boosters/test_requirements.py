"""Every requirement of the Booster is shown by a test that names its number."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
GROUPS = {
    "parameters and roles": range(1, 7),
    "agent": range(10, 18),
    "pair": range(20, 29),
    "patches": range(30, 42),
    "licences": range(50, 59),
    "order of starting": range(60, 62),
    "joining": range(70, 72),
}
"""The numbers OMF-01 to OMF-71."""
NAMED = re.compile(r"omf[-_](\d\d)(?: to omf[-_](\d\d))?", re.IGNORECASE)


def numbers_in(text):
    """Return the numbers a text names, those between the ends of `OMF-01 to OMF-06` too."""
    for first, last in NAMED.findall(text):
        yield from range(int(first), int(last or first) + 1)


def named_by_tests():
    """Return the numbers in names and docstrings of tests, and in the docstrings of their modules."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        if path == Path(__file__):
            continue
        module = ast.parse(path.read_text())
        tests = [
            node
            for node in ast.walk(module)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        ]
        if tests:
            found.update(numbers_in(ast.get_docstring(module) or ""))
        for test in tests:
            found.update(numbers_in(f"{test.name} {ast.get_docstring(test) or ''}"))
    return found


def test_every_requirement_is_named_by_a_test_and_no_test_names_one_that_is_none():
    wanted = {number for group in GROUPS.values() for number in group}
    found = named_by_tests()

    assert (sorted(wanted - found), sorted(found - wanted)) == ([], [])


def test_a_range_names_the_numbers_between_its_ends_too():
    assert [*numbers_in("OMF-01 to OMF-03, omf_21 and OMF-7")] == [1, 2, 3, 21]
