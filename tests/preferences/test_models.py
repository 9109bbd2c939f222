import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from preferences.models import PreferenceValue
from tests.factories import make_organization

pytestmark = pytest.mark.django_db


def set_preference(key, value, organization=None):
    row = PreferenceValue(key=key, value=value, organization=organization)
    row.full_clean()
    row.save()
    return row


def test_a_value_is_stored_in_its_plain_spelling():
    client = make_organization("ACME")

    set_preference("request_retries", "007", client)

    assert list(PreferenceValue.objects.values_list("key", "organization__code", "value")) == [
        ("request_retries", "ACME", "7")
    ]


@pytest.mark.parametrize(
    ("key", "value", "wrong"),
    [
        ("ping_interval_ms", "59999", "value"),
        ("ping_interval_ms", "often", "value"),
        ("ping_interval_ms", "", "value"),
        ("multi_server_enabled", "yes", "value"),
        ("multi_server_enabled", "y", "value"),
        ("colour", "red", "key"),
    ],
)
def test_what_cannot_hold_is_refused(key, value, wrong):
    with pytest.raises(ValidationError) as refusal:
        set_preference(key, value)

    assert wrong in refusal.value.message_dict
    assert not PreferenceValue.objects.exists()


def test_the_enabling_preference_is_refused_for_an_organization():
    client = make_organization("ACME")

    with pytest.raises(ValidationError) as refusal:
        set_preference("multi_server_enabled", "Y", client)

    assert set(refusal.value.message_dict) == {"organization"}


@pytest.mark.parametrize("organization", [None, "ACME"])
def test_a_preference_is_set_once_per_place(organization):
    client = make_organization("ACME")
    place = client if organization else None
    set_preference("request_retries", "1", place)

    with pytest.raises(ValidationError):
        set_preference("request_retries", "2", place)
    with pytest.raises(IntegrityError), transaction.atomic():
        PreferenceValue.objects.bulk_create([PreferenceValue(key="request_retries", value="2", organization=place)])


@pytest.mark.parametrize(("value", "organization"), [("yes", None), ("", None), ("Y", "ACME")])
def test_the_database_keeps_the_enabling_preference_at_the_system_and_y_or_n(value, organization):
    client = make_organization("ACME")

    with pytest.raises(IntegrityError), transaction.atomic():
        PreferenceValue.objects.create(
            key="multi_server_enabled", value=value, organization=client if organization else None
        )
