"""The router for browsers in a real one: its queue outlives the page, and one tab delivers at a time."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reference_server.server import ReferenceServer, serving
from tests.clients.request_router.scenarios import SCENARIOS
from tests.clients.webpos.test_scenarios import check

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
OPEN = """async () => {
  window.module = await import("/clients/webpos/router.js");
  window.store = await module.IndexedDbStore.open("till");
}"""
STORE = """async ids => {
  const router = new module.RequestRouter({ store, now: () => 0, transport: null });
  router.configure(module.configurationOf(%s));
  for (const messageId of ids) await router.request("OrderLoader", { messageId, data: [{}] });
}"""
IN_THE_PAGE = """async scenario => {
  const { run } = await import("/tests/clients/webpos/scenarios.mjs");
  return run(module, scenario, await module.IndexedDbStore.open(scenario.name));
}"""
SLOW_TAB = """async () => {
  const fetch = () => new Promise(resolve => { window.answer = () => resolve(new Response('{"response":{}}')); });
  window.terminal = new module.Terminal({ store, token: "t", boosters: [], fetch });
  terminal.router.configure(module.configurationOf(%s));
  window.delivering = terminal.deliver();
  while (!window.answer) await new Promise(resolve => setTimeout(resolve, 5));
}"""
OTHER_TAB = """async () => {
  let calls = 0;
  const fetch = async () => { calls += 1; return new Response('{"response":{}}'); };
  window.terminal = new module.Terminal({ store, token: "t", boosters: [], fetch });
  terminal.router.configure(module.configurationOf(%s));
  await terminal.deliver();
  return calls;
}"""


def ids_of(page):
    return page.evaluate("async () => (await store.waiting()).map(message => message.messageId)")


def orders():
    """Return a configuration in which one server takes tickets, as JSON."""
    configuration = json.loads(json.dumps(SCENARIOS["one-server"]["configuration"]))
    configuration["services"] = [
        {"name": "OrderLoader", "routing_type": "failover", "transactional": True, "timeout_s": 10}
    ]
    configuration["servers"][0] |= {"all_services": True, "services": []}
    return json.dumps(configuration)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *arguments):
        """Say nothing of each request."""


@pytest.fixture
def tabs(chromium):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = chromium.new_context()

    def open_tab():
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/clients/webpos/package.json")
        page.evaluate(OPEN)
        return page

    yield open_tab
    context.close()
    server.shutdown()
    server.server_close()


def test_the_queue_in_indexeddb_outlives_a_page_in_its_order(tabs):
    first = tabs()
    first.evaluate(STORE % orders(), ["t1", "t2", "t2", "t3"])
    first.close()

    assert ids_of(tabs()) == ["t1", "t2", "t3"]


def test_one_tab_delivers_while_the_other_waits(tabs):
    slow, other = tabs(), tabs()
    slow.evaluate(STORE % orders(), ["t1"])
    slow.evaluate(SLOW_TAB % orders())

    assert other.evaluate(OTHER_TAB % orders()) == 0
    slow.evaluate("async () => { answer(); await delivering; }")
    assert ids_of(other) == []
    delivered = other.evaluate("async () => (await store.deliveries()).map(one => one.messageId)")
    assert delivered == ["t1"]


def test_refused_messages_can_be_retried_and_dropped(tabs):
    page = tabs()
    page.evaluate(STORE % orders(), ["t1", "t2"])
    page.evaluate("async () => { for (const message of await store.waiting()) await store.refuse(message, 'no'); }")

    assert page.evaluate("async () => [await store.retry('t1'), await store.drop('t2'), await store.drop('t1')]") == [
        1,
        1,
        0,
    ]
    assert (ids_of(page), page.evaluate("async () => (await store.errors()).length")) == (["t1"], 0)


def test_every_scenario_runs_in_the_page_on_indexeddb(tabs):
    page = tabs()

    for scenario in SCENARIOS.values():
        check(scenario, page.evaluate(IN_THE_PAGE, scenario))


def test_a_ticket_reaches_a_server_of_another_origin_once(tabs):
    with serving(ReferenceServer("LYON")) as server:
        configuration = json.loads(orders())
        configuration["servers"][0]["url"] = server.url
        page = tabs()
        page.evaluate(STORE % orders(), ["t1"])

        page.evaluate(
            """async configuration => {
              const terminal = new module.Terminal({ store, token: "t", boosters: [] });
              terminal.router.configure(module.configurationOf(configuration));
              terminal.loggedIn("token");
              await terminal.deliver();
            }""",
            configuration,
        )

        assert [row["messageId"] for row in server.data.shown()["accepted"]] == ["t1"]
        assert ids_of(page) == []
