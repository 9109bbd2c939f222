import os
import stat
import threading

from backoffice.secret_files import read_or_create_secret


def test_a_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path):
    path = tmp_path / "data" / "secret.key"

    secret = read_or_create_secret(path)

    assert len(secret) >= 64
    assert read_or_create_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["secret.key"]


def test_an_existing_secret_is_kept(tmp_path):
    path = tmp_path / "secret.key"
    path.write_text("a secret of the administrator\n")

    assert read_or_create_secret(path) == "a secret of the administrator"


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path):
    path = tmp_path / "secret.key"
    ready = threading.Barrier(8)
    secrets = []

    def start():
        ready.wait()
        secrets.append(read_or_create_secret(path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(secrets) == 8
    assert set(secrets) == {path.read_text()}
    assert os.listdir(tmp_path) == ["secret.key"]
