"""Versions and ranges (OMF-31, OMF-32)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boosters.versions import Range, Version, known, parse

NUMBERS = st.tuples(*[st.integers(0, 999_999_999)] * 4)
SUFFIXES = st.from_regex(r"([A-Za-z+-][A-Za-z0-9._+-]{0,9})?", fullmatch=True)
VERSIONS = st.builds(Version, NUMBERS, SUFFIXES)


@pytest.mark.parametrize(
    ("older", "newer"),
    [("1.1.9.0", "1.1.10.0"), ("1.1.6.3", "1.2.0.0"), ("0.9.9.9", "1.0.0.0"), ("1.1.6.2fix9", "1.1.6.3")],
)
def test_versions_compare_by_numbers_omf_31(older, newer):
    assert parse(older) < parse(newer)


def test_the_suffix_counts_for_nothing_omf_31():
    assert parse("1.1.6.3fix3") == parse("1.1.6.3")
    assert str(parse("1.1.6.3fix3")) == "1.1.6.3fix3"


@pytest.mark.parametrize(
    "text", ["", "1", "1.2.3", "1.2.3.4.5", "1.2.3.x", "v1.2.3.4", "1.2.3.4 beta", "1..2.3", "١.2.3.4"]
)
def test_what_is_no_version_is_refused_with_what_is_expected_omf_31(text):
    with pytest.raises(ValueError, match=r"four numbers such as 1\.1\.6\.3"):
        parse(text)
    assert known(text) is None


@pytest.mark.parametrize(
    ("installed", "fits"),
    [
        ("1.1.5.9", False),
        ("1.1.6.0", True),
        ("1.1.6.1", True),
        ("1.1.6.3", True),
        ("1.1.6.3fix3", True),
        ("1.1.6.4", False),
    ],
)
def test_a_range_includes_both_its_ends_omf_32(installed, fits):
    assert Range(parse("1.1.6.0"), parse("1.1.6.3")).holds(parse(installed)) is fits


def test_a_range_that_holds_nothing_is_refused_omf_32():
    with pytest.raises(ValueError, match=r"No version lies from 2\.0\.0\.0 to 1\.0\.0\.0"):
        Range(parse("2.0.0.0"), parse("1.0.0.0"))


@settings(max_examples=100)
@given(VERSIONS)
def test_a_version_reads_back_as_it_is_written_omf_31(version):
    assert (parse(str(version)), parse(str(version)).suffix) == (version, version.suffix)


@settings(max_examples=100)
@given(VERSIONS, VERSIONS, VERSIONS)
def test_comparing_is_a_total_order_of_the_numbers_omf_31(one, other, third):
    assert (one < other) == (one.numbers < other.numbers)
    assert (one == other) == (one.numbers == other.numbers)
    assert sorted([one, other, third]) == sorted([third, one, other])


@settings(max_examples=100)
@given(VERSIONS, VERSIONS, VERSIONS)
def test_a_range_holds_exactly_what_lies_between_its_ends_omf_32(one, other, installed):
    fits = Range(min(one, other), max(one, other))

    assert fits.holds(installed) == (fits.lowest.numbers <= installed.numbers <= fits.highest.numbers)
    assert fits.holds(fits.lowest)
    assert fits.holds(fits.highest)
