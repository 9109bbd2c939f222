import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from services.models import MobileService, Module
from tests.factories import make_module, make_service

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "org.example.Order"}, "name"),
        ({"name": "two words"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "org.example\n"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"routing_type": "transaction"}, "routing_type"),
        ({"routing_type": "ping", "is_transactional": True}, "is_transactional"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 86_401}, "timeout_s"),
        ({"default_timeout_s": 0}, "default_timeout_s"),
    ],
)
def test_bad_fields_are_refused_and_named(fields, wrong):
    make_service("org.example.Order")

    with pytest.raises(ValidationError) as refusal:
        make_service(**{"name": "org.example.Second"} | fields)

    assert wrong in refusal.value.message_dict
    assert MobileService.objects.count() == 1


@pytest.mark.parametrize(
    ("default", "override", "effective"), [(None, None, None), (10, None, 10), (10, 30, 30), (None, 5, 5)]
)
def test_the_override_comes_before_the_modules_timeout(default, override, effective):
    service = make_service("org.example.Order", default_timeout_s=default, timeout_s=override)

    assert service.effective_timeout_s == effective


@pytest.mark.parametrize("version", ["1", "1.1.6.3", "2.0-rc.1", "3.0.1+build"])
def test_a_version_is_up_to_four_numbers_with_a_suffix(version):
    Module(name="org.example", version=version).full_clean()


@pytest.mark.parametrize("version", ["", "one", "v1", "1 2", "1.0\n", "1.2.3.4.5"])
def test_other_versions_are_refused(version):
    with pytest.raises(ValidationError) as refusal:
        Module(name="org.example", version=version).full_clean()

    assert set(refusal.value.message_dict) == {"version"}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "org.example.Order"},
        {"routing_type": "queue"},
        {"routing_type": "ping", "is_transactional": True},
        {"timeout_s": -1},
    ],
)
def test_the_database_refuses_what_no_code_may_store(change):
    make_service("org.example.Order")
    make_service("org.example.Second")

    with pytest.raises(IntegrityError), transaction.atomic():
        MobileService.objects.filter(name="org.example.Second").update(**change)


def test_module_names_are_unique():
    make_module("org.example")

    with pytest.raises(IntegrityError), transaction.atomic():
        Module.objects.create(name="org.example", version="2.0")
