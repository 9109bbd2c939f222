"""A server's version and modules beside central's."""

import pytest

from boosters.version_overview import Compared, Comparison, Installed, ModuleDifference, compare

CENTRAL = Installed("1.2.0.0", {"pos": "2", "stock": "1", "central.only": "9"})


@pytest.mark.parametrize(
    ("here", "compared"),
    [
        (Installed("1.2.0.0", {"pos": "2", "stock": "1"}), Compared(Comparison.SAME)),
        (Installed("1.2.0.0", {"store.only": "7"}), Compared(Comparison.SAME)),
        (
            Installed("1.1.0.0", {"pos": "2"}),
            Compared(Comparison.DIFFERENT, ("Version 1.1.0.0, central has 1.2.0.0",)),
        ),
        (
            Installed("1.2.0.0", {"pos": "1", "stock": "1"}),
            Compared(Comparison.DIFFERENT, ("pos 1, central has 2",), (ModuleDifference("pos", "1", "2"),)),
        ),
        (Installed("", error="Gone."), Compared(Comparison.UNKNOWN, ("Gone.",))),
        (Installed("1.2.0.0", error="Gone."), Compared(Comparison.UNKNOWN, ("Gone.",))),
        (Installed(""), Compared(Comparison.UNKNOWN, ("It has not reported its version.",))),
    ],
)
def test_only_common_modules_are_compared_and_both_versions_told(here, compared):
    assert compare(here, CENTRAL) == compared


def test_without_a_central_version_nothing_is_the_same():
    here = Installed("1.2.0.0")

    assert compare(here, None).differences == ("Its client has no main server to compare with.",)
    assert compare(here, Installed("")).differences == ("The central server has not reported its version.",)


@pytest.mark.parametrize(
    ("one", "other", "is_same"), [("26.2", "26.2", True), ("26.2", "26.20", False), ("1.2.0.0fix1", "1.2.0.0", False)]
)
def test_versions_of_any_form_are_compared(one, other, is_same):
    assert (compare(Installed(one), Installed(other)).comparison is Comparison.SAME) is is_same
