"""The snapshot on disk: what is read is what was written, or nothing."""

import stat
from datetime import UTC, datetime, timedelta

import pytest
from django.db import OperationalError
from hypothesis import given, settings
from hypothesis import strategies as st

from routing import disk_snapshot
from routing.disk_snapshot import Kept
from routing.document import Door, ServerState
from routing.store import Store
from routing.watcher import Watcher
from terminals.tokens import TokenState
from tests.routing.generated import configurations

KEY, MOMENT = b"k" * 32, datetime(2026, 11, 27, 12, tzinfo=UTC)
moments = st.none() | st.datetimes(timezones=st.just(UTC))
tokens = st.builds(
    TokenState,
    pk=st.integers(1, 9),
    token_id=st.sampled_from(["a", "b", "ö"]),
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
    terminal_id=st.integers(1, 9),
    terminal_key=st.text(max_size=5),
    terminal_is_active=st.booleans(),
    organization_id=st.integers(1, 9),
    is_used=st.booleans(),
    replaced_at=moments,
    revoked_at=moments,
)


def kept(landscape, token_states=(), states=None):
    return Kept(
        {"landscape": 7, "credentials": 3, "status": 2},
        MOMENT,
        landscape,
        dict(enumerate(landscape.organizations)),
        {token.token_id: token for token in token_states},
        states or {"one": ServerState("online", MOMENT), "two": ServerState()},
    )


@settings(max_examples=60, deadline=None)
@given(generated=configurations(), token_states=st.lists(tokens, max_size=4))
def test_what_is_read_is_what_was_written(tmp_path_factory, generated, token_states):
    path = tmp_path_factory.getbasetemp() / "snapshot"
    written = kept(generated.landscape(), token_states)

    disk_snapshot.save(path, written, KEY)

    assert disk_snapshot.load(path, KEY) == written
    assert disk_snapshot.saved_numbers(path) == written.numbers
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_rows_are_written_in_portions_and_read_whole(tmp_path, make_kept):
    many = make_kept(number=3 * disk_snapshot.ROWS_AT_ONCE + 1)

    disk_snapshot.save(tmp_path / "snapshot", many, KEY)

    assert disk_snapshot.load(tmp_path / "snapshot", KEY) == many


@pytest.fixture
def make_kept():
    from tests.routing.makers import make_landscape

    def make(number=3):
        states = [
            TokenState(n, f"t{n}", "0" * 64, n, f"LY-{n}", True, 1, True, None, MOMENT if n % 2 else None)
            for n in range(number)
        ]
        return kept(make_landscape(organizations={"ACME": None, "LYON": "ACME"}), states)

    return make


def test_a_file_that_is_not_whole_unaltered_and_ours_counts_as_none(tmp_path, make_kept):
    path = tmp_path / "snapshot"
    disk_snapshot.save(path, make_kept(), KEY)
    content = path.read_bytes()

    def load_of(changed, key=KEY):
        path.write_bytes(changed)
        return disk_snapshot.load(path, key)

    assert load_of(content) is not None
    assert load_of(content, b"another key") is None
    assert [load_of(content[:length]) for length in (0, 5, 40, len(content) // 2, len(content) - 1)] == [None] * 5
    for place in range(0, len(content), 7):
        altered = bytearray(content)
        altered[place] ^= 1
        assert load_of(bytes(altered)) is None
    path.unlink()
    assert disk_snapshot.load(path, KEY) is None
    assert disk_snapshot.saved_numbers(path) is None


def test_a_snapshot_that_cannot_be_written_leaves_the_old_one(tmp_path, make_kept, monkeypatch):
    path = tmp_path / "snapshot"
    disk_snapshot.save(path, make_kept(), KEY)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("routing.disk_snapshot.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        disk_snapshot.save(path, make_kept(5), KEY)

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_that_finds_no_database_serves_from_disk_and_says_how_old_it_is(
    tmp_path, make_kept, settings, monkeypatch
):
    settings.TERMINAL_SNAPSHOT = tmp_path / "snapshot"
    earlier = Store()
    earlier.restore(make_kept(), datetime.now(UTC) - timedelta(seconds=60))
    assert Watcher(earlier).save()
    assert not Watcher(earlier).save()  # what is there is as new

    def away():
        raise OperationalError("connection refused")

    monkeypatch.setattr("routing.watcher.connections.close_all", lambda: None)
    monkeypatch.setattr("routing.store.revision.numbers", away)
    later = Store()
    Watcher(later).check(write_reports=False)

    assert later.snapshot.document(Door.CONFIGURATION, "LYON") == earlier.snapshot.document(Door.CONFIGURATION, "LYON")
    assert later.snapshot.tokens == make_kept().tokens
    assert later.stale_s > 60


def test_a_process_that_finds_neither_database_nor_file_goes_on_waiting(tmp_path, settings, monkeypatch):
    settings.TERMINAL_SNAPSHOT = tmp_path / "none"

    def away():
        raise OperationalError("connection refused")

    monkeypatch.setattr("routing.watcher.connections.close_all", lambda: None)
    monkeypatch.setattr("routing.store.revision.numbers", away)
    store = Store()
    Watcher(store).check(write_reports=False)

    assert store.snapshot is None
