"""The documents kept compiled: within their bound, and across changes that do not concern them."""

import gzip

from hypothesis import given, settings
from hypothesis import strategies as st

from routing.compiled import COMPRESSED_SHARE, OVERHEAD_BYTES, CompiledDocuments
from routing.document import Document, Writer, canonical_json, configuration, status
from tests.routing.generated import configurations

KEY = ("configuration", "LYON")


def size(body):
    return len(body) + len(body) // COMPRESSED_SHARE + OVERHEAD_BYTES


def test_a_document_is_kept_with_its_compressed_form_when_a_later_generation_writes_the_same_bytes():
    documents = CompiledDocuments(10_000)
    first = documents.compile(KEY, 1, lambda: b"same")
    zipped = first.gzipped

    unknown = documents.known(KEY, 2)
    again = documents.compile(KEY, 2, lambda: b"same")

    assert (unknown, again is first, again.gzipped is zipped) == (None, True, True)
    assert documents.known(KEY, 2) is first
    assert documents.known(KEY, 1) is None


def test_a_changed_document_replaces_the_old_one_and_is_counted_once():
    documents = CompiledDocuments(10_000)
    documents.compile(KEY, 1, lambda: b"old")

    new = documents.compile(KEY, 2, lambda: b"a new one")

    assert (documents.known(KEY, 2), new.identity) == (new, b"a new one")
    assert documents.held_bytes == size(b"a new one")


def test_what_nobody_asked_for_goes_first_and_leaves_its_tag():
    documents = CompiledDocuments(2 * size(b"x" * 100))
    tags = {}
    for code in "AB":
        tags[code] = documents.compile(("configuration", code), 1, lambda: b"x" * 100).tag
    documents.compile(("configuration", "C"), 1, lambda: b"y" * 100)
    documents.known(("configuration", "B"), 1)

    documents.compile(("configuration", "D"), 1, lambda: b"z" * 100)

    held = {code for code in "ABCD" if documents.known(("configuration", code), 1)}
    assert held == {"B", "D"}
    assert documents.known_tag(("configuration", "A"), 1) == tags["A"]


def test_a_document_larger_than_the_bound_is_still_given():
    documents = CompiledDocuments(10)

    given_ = documents.compile(KEY, 1, lambda: b"x" * 1_000)

    assert documents.known(KEY, 1) is given_


def test_documents_of_organizations_that_are_no_more_are_forgotten():
    documents = CompiledDocuments(10_000)
    for code in ("LYON", "OSLO"):
        documents.compile(("status", code), 1, lambda: b"{}")

    documents.keep_only({"OSLO"})

    assert documents.known_tag(("status", "LYON"), 1) is None
    assert documents.known_tag(("status", "OSLO"), 1) == Document.of(b"{}").tag
    assert documents.held_bytes == size(b"{}")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4), st.binary(max_size=60)), max_size=60),
    st.integers(500, 3_000),
)
def test_the_bound_holds_and_every_document_is_what_was_written(steps, bound):
    documents = CompiledDocuments(bound)

    for number, generation, body in steps:
        compiled = documents.compile(("configuration", str(number)), generation, lambda body=body: body)
        assert compiled.identity == body
        assert documents.held_bytes <= max(bound, size(body))


@settings(max_examples=60, deadline=None)
@given(configurations())
def test_the_written_bytes_are_those_of_the_documents_values(generated):
    landscape = generated.landscape()
    boosters = ["https://booster-a.example", "https://bööster.example"]
    writer = Writer(landscape, boosters)

    for code in landscape.organizations:
        assert writer.configuration(code) == canonical_json(configuration(landscape, code, boosters))
        assert writer.status(code, {}) == canonical_json(status(landscape, code, {}))


def test_the_compressed_form_is_made_once_and_holds_the_same_bytes():
    document = Document.of(b'{"a":1}')

    assert document.gzipped is document.gzipped
    assert gzip.decompress(document.gzipped) == document.identity
