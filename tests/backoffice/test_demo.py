import pytest
from django.core.management import CommandError, call_command
from django.forms.models import model_to_dict

from accounts.models import User
from accounts.scope import STORE_OPERATOR
from backoffice.demo import fill
from organizations.models import Organization
from routing.load import load_landscape
from servers.models import MobileServer
from services.models import MobileService
from terminals.models import Terminal
from tests.factories import make_organization

pytestmark = pytest.mark.django_db
MASTER = "org.openbravo.retail.posterminal.master"


def counts():
    return {
        model.__name__: model.objects.count() for model in (Organization, MobileService, MobileServer, Terminal, User)
    }


def test_init_env_fills_a_demo_that_routes():
    call_command("init_env")

    landscape = load_landscape()
    assert counts() == {"Organization": 12, "MobileService": 83, "MobileServer": 5, "Terminal": 19, "User": 2}
    assert landscape.is_multi_server("OSLO")
    assert [server.key for server in landscape.servers_for("OSLO")] == ["nordics_data", "central", "central_2"]
    assert [server.key for server in landscape.servers_for("LYON")] == ["lyon", "central", "central_2"]
    nordics, iberia = (landscape.services_of(landscape.servers_for(store)[0]) for store in ("OSLO", "PORTO"))
    assert len(nordics) == 41
    assert all(name == MASTER or name.startswith(f"{MASTER}.") for name in nordics)
    assert len(iberia) == 81


def test_init_env_makes_admin_and_agent(capsys):
    call_command("init_env")

    admin, agent = User.objects.get(username="admin"), User.objects.get(username="agent")
    password = capsys.readouterr().out.partition("one-time password ")[2].partition(",")[0]
    assert (admin.is_superuser, admin.must_change_password, admin.check_password(password)) == (True, True, True)
    assert agent.check_password("agent1*")
    assert [group.name for group in agent.groups.all()] == [STORE_OPERATOR]
    assert [organization.code for organization in agent.organizations.all()] == ["FRANCE"]


def test_init_env_twice_changes_nothing(capsys):
    call_command("init_env")
    before = (counts(), [model_to_dict(user) for user in User.objects.order_by("pk")])

    call_command("init_env", "--force")

    assert (counts(), [model_to_dict(user) for user in User.objects.order_by("pk")]) == before
    assert capsys.readouterr().out.splitlines()[-1] == "The demo is already there; nothing was changed."


def test_init_env_refuses_other_data_unless_forced():
    make_organization("OTHER")

    with pytest.raises(CommandError, match="holds other data"):
        call_command("init_env")
    assert counts()["Organization"] == 1

    call_command("init_env", "--force")
    assert counts()["Organization"] == 13


def test_demo_gives_no_known_password_in_production(settings):
    settings.IS_PRODUCTION = True

    filled = fill()

    agent = User.objects.get(username="agent")
    assert not agent.check_password("agent1*")
    assert agent.must_change_password
    assert "agent1*" not in filled.people
