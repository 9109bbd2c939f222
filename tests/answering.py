"""Servers of a few lines that answer what a test likes: politely, slowly, or not at all."""

import re
import socket
import threading
from contextlib import contextmanager

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def _read(connection):
    """Read one request, as far as the other side gets."""
    request = b""
    while True:
        head, end, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if end and len(body) >= int(length[1] if length else 0):
            return request
        received = connection.recv(65536)
        if not received:
            return request
        request += received


@contextmanager
def serving(answer, tls=None, host="127.0.0.1", family=socket.AF_INET):
    """Serve on a free port; `answer(connection, stopped)` writes what it likes. Yields port and requests."""
    listener = socket.create_server((host, 0), family=family)
    requests = []
    stopped = threading.Event()

    def handle(connection):
        try:
            if tls:
                connection = tls.wrap_socket(connection, server_side=True)
            with connection:
                requests.append(_read(connection).decode("latin-1"))
                answer(connection, stopped)
        except OSError:
            pass

    def accept():
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], requests
    finally:
        stopped.set()
        listener.close()


def saying(data):
    return lambda connection, stopped: connection.sendall(data)


def dripping(data, every_s=0.05):
    def answer(connection, stopped):
        for byte in data:
            if stopped.wait(every_s):
                return
            connection.sendall(bytes([byte]))

    return answer
