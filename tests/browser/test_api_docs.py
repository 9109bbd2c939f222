import pytest

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_docs_page_shows_every_collection_and_asks_nobody_else(open_windows, scheme):
    watched = open_windows(scheme=scheme)

    page = watched.open("/api/docs/")
    page.wait_for_selector("#operations-servers-servers_list")
    page.click("#operations-servers-servers_list .opblock-summary-control")
    page.wait_for_selector(".responses-table")
    watched.picture(f"api-docs-{scheme}")

    shown = {tag.get_attribute("data-tag") for tag in page.query_selector_all("h3.opblock-tag")}
    assert shown >= {
        "organizations",
        "modules",
        "services",
        "preferences",
        "servers",
        "terminals",
        "terminal",
        "routing",
    }
    assert watched.faults == []
