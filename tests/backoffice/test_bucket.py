"""The bucket's address, and a real client of it against a small server that speaks its protocol."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from backoffice.bucket import storage_of

OPTIONS = {"default_acl": None, "file_overwrite": True}


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (
            "s3://key:se%2Fcret@minio.example:9000/patches?region=eu&tls=no",
            {
                "bucket_name": "patches",
                "access_key": "key",
                "secret_key": "se/cret",
                "region_name": "eu",
                "endpoint_url": "http://minio.example:9000",
                "addressing_style": "path",
            },
        ),
        (
            "s3:///patches?region=eu-north-1",
            {"bucket_name": "patches", "access_key": None, "secret_key": None, "region_name": "eu-north-1"},
        ),
    ],
)
def test_an_address_tells_the_bucket_and_how_to_reach_it(url, options):
    assert storage_of(url) == {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": OPTIONS | options}


@pytest.mark.parametrize(
    "url", ["", "http://x/y", "s3://host", "s3://host/a/b", "s3://host/a?x=1", "s3://host/a?tls=maybe"]
)
def test_what_is_no_address_of_a_bucket_is_refused(url):
    with pytest.raises(ValueError, match="BUCKET_URL must be s3://KEY:SECRET@HOST/BUCKET"):
        storage_of(url)


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr("backoffice.bucket.find_spec", lambda name: None)

    with pytest.raises(ValueError, match=r"pip install -r requirements-bucket\.txt"):
        storage_of("s3://host/bucket")


class Bucket(BaseHTTPRequestHandler):
    """As much of the protocol as keeping, asking for, reading and deleting objects takes."""

    objects: dict[str, bytes] = {}

    def log_message(self, *arguments):
        pass

    def _answer(self, status, body=b"", length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("ETag", '"x"')
        self.send_header("Last-Modified", "Fri, 27 Nov 2026 12:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            body = self._unpacked(body)
        self.objects[self.path] = body
        self._answer(200)

    @staticmethod
    def _unpacked(body):
        content = b""
        while True:
            size, _, body = body.partition(b"\r\n")
            length = int(size.partition(b";")[0], 16)
            if not length:
                return content
            content, body = content + body[:length], body[length + 2 :]

    def do_HEAD(self):
        found = self.objects.get(self.path)
        self._answer(404 if found is None else 200, length=0 if found is None else len(found))

    def do_GET(self):
        found = self.objects.get(self.path)
        self._answer(404) if found is None else self._answer(200, found)

    def do_DELETE(self):
        self.objects.pop(self.path, None)
        self._answer(204)


@pytest.fixture
def address():
    """Run a bucket; return its host and port."""
    Bucket.objects = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_files_are_kept_in_the_bucket_read_and_deleted(settings, address):
    settings.STORAGES = settings.STORAGES | {"patches": storage_of(f"s3://k:s@{address}/box?region=eu&tls=no")}
    bucket = storages["patches"]

    before = bucket.exists("one.bpatch")
    bucket.save("one.bpatch", ContentFile(b"content"))
    with bucket.open("one.bpatch", "rb") as stream:
        content = stream.read()
    bucket.delete("one.bpatch")

    assert (before, content, bucket.exists("one.bpatch")) == (False, b"content", False)
