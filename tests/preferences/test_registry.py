import pytest
from hypothesis import given
from hypothesis import strategies as st

from preferences.registry import BY_KEY, DEFINITIONS, Kind, Scope

NUMBERS = [definition for definition in DEFINITIONS if definition.kind is Kind.INTEGER]


def test_the_four_preferences_of_the_manual_have_its_defaults_and_units():
    shown = {
        key: (BY_KEY[key].original, BY_KEY[key].unit, BY_KEY[key].default, BY_KEY[key].minimum)
        for key in (
            "multi_server_enabled",
            "token_max_age_ms",
            "ping_interval_ms",
            "token_refresh_interval_ms",
        )
    }

    assert shown == {
        "multi_server_enabled": ("OBMOBC_MultiServerArchitecture", "", False, None),
        "token_max_age_ms": ("OBMOBC_AuthenticationTokenMaxAge", "ms", 43_200_000, 60_000),
        "ping_interval_ms": ("OBMOBC_RequestRouterPingTime", "ms", 300_000, 60_000),
        "token_refresh_interval_ms": ("OBMOBC_RequestRouterTokenRefreshInterval", "ms", 1_800_000, 600_000),
    }


def test_only_the_enabling_preference_is_for_the_system_alone():
    assert [item.key for item in DEFINITIONS if item.scope is Scope.SYSTEM] == ["multi_server_enabled"]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda definition: definition.key)
def test_every_default_lies_within_its_own_bounds_and_units_end_names(definition):
    assert definition.parse(definition.spell(definition.default)) == definition.default
    assert definition.unit in ("", "count") or definition.key.endswith(f"_{definition.unit}")


def effective(definition, text):
    """Return what holds where `text` was found for the whole system."""
    return definition.decide({(definition.key, None): text}, ())[0]


@given(st.sampled_from(NUMBERS), st.integers(-(10**15), 10**15))
def test_numbers_are_taken_within_their_bounds_and_default_outside(definition, number):
    inside = definition.minimum <= number <= definition.maximum

    assert effective(definition, str(number)) == (number if inside else definition.default)


@given(st.sampled_from(NUMBERS), st.data())
def test_every_number_within_the_bounds_survives_being_spelled(definition, data):
    number = data.draw(st.integers(definition.minimum, definition.maximum))

    assert definition.parse(definition.spell(number)) == number


@given(st.sampled_from(DEFINITIONS), st.text(max_size=20))
def test_any_text_is_a_value_within_the_bounds_or_the_default(definition, text):
    value = effective(definition, text)

    if definition.kind is Kind.FLAG:
        assert value is (text.strip() == "Y" or (text.strip() != "N" and definition.default))
    else:
        assert definition.minimum <= value <= definition.maximum


@pytest.mark.parametrize("text", ["", "y", "yes", "1", "true", "NN", "Y N", "0"])
def test_a_flag_is_exactly_y_or_n(text):
    with pytest.raises(ValueError, match="exactly Y or N"):
        BY_KEY["multi_server_enabled"].parse(text)


@pytest.mark.parametrize("text", ["", "fast", "1.5", "-1", "1e5", "0x10", "٣٠٠٠٠٠", "300 000", "9" * 5000])
def test_a_number_is_written_in_plain_digits(text):
    with pytest.raises(ValueError, match="whole number of milliseconds"):
        BY_KEY["ping_interval_ms"].parse(text)


@pytest.mark.parametrize(("text", "reason"), [("59999", "at least 60000 ms"), ("86400001", "at most 86400000 ms")])
def test_a_number_out_of_bounds_is_told_the_bound(text, reason):
    with pytest.raises(ValueError, match=reason):
        BY_KEY["ping_interval_ms"].parse(text)
