"""Make, register, list and end the keys that mobile servers sign logins with."""

import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from jwt.algorithms import OKPAlgorithm

from backoffice.refusals import Refusal
from backoffice.signed_text import PRIVATE, write_new
from servers.key_models import ServerSigningKey
from servers.models import MobileServer
from servers.signing_keys import end_key, register_key, thumbprint


class Command(BaseCommand):
    help = "Make, register, list and end the keys that mobile servers sign their users' logins with."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        made = commands.add_parser("generate", help="make a key pair; the private half is only written to its file")
        made.add_argument("directory", type=Path, help="where to write KID.private.pem (mode 0600) and KID.jwk")
        registered = commands.add_parser("register", help="register the public half for a server")
        registered.add_argument("server", help="mobile server key")
        registered.add_argument("file", type=Path, help="the public half, KID.jwk")
        listed = commands.add_parser("list", help="list a server's keys")
        listed.add_argument("server", help="mobile server key")
        ended = commands.add_parser("end", help="let no server believe a key any more")
        ended.add_argument("kid", help="id of the key")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, options["command"])(**options)
        except Refusal as error:
            raise CommandError(error.detail) from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error

    def generate(self, directory: Path, **options: Any) -> None:
        key = Ed25519PrivateKey.generate()
        jwk = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        key_id = thumbprint(jwk["x"])
        public = {"kty": "OKP", "crv": "Ed25519", "x": jwk["x"], "kid": key_id, "alg": "EdDSA", "use": "sig"}
        private_file = directory / f"{key_id}.private.pem"
        write_new(private_file, key.private_bytes(*PRIVATE), 0o600)
        write_new(directory / f"{key_id}.jwk", json.dumps(public).encode() + b"\n", 0o644)
        self.stdout.write(str(directory / f"{key_id}.jwk"))
        self.stderr.write(f"The private half is in {private_file}: it belongs on the server's host, and nowhere else.")

    def register(self, server: str, file: Path, **options: Any) -> None:
        try:
            jwk = json.loads(file.read_bytes())
        except ValueError as error:
            raise CommandError(f"{file} is no JWK.") from error
        if not isinstance(jwk, dict):
            raise CommandError(f"{file} is no JWK.")
        key, is_new = register_key(self._server(server).pk, jwk, timezone.now())
        self.stdout.write(f"{key.key_id} {'registered' if is_new else 'was registered already'}.")

    def list(self, server: str, **options: Any) -> None:
        for key in self._server(server).signing_keys.all():
            ended = f"ended {key.ended_at:%Y-%m-%dT%H:%M:%SZ}" if key.ended_at else "live"
            self.stdout.write(f"{key.key_id}  {key.registered_at:%Y-%m-%dT%H:%M:%SZ}  {key.registered_by}  {ended}")

    def end(self, kid: str, **options: Any) -> None:
        try:
            ended = end_key(kid, timezone.now())
        except ServerSigningKey.DoesNotExist:
            raise CommandError(f"There is no key {kid}.") from None
        self.stdout.write(f"{kid} {'ended' if ended else 'had ended before'}.")

    def _server(self, key: str) -> MobileServer:
        server = MobileServer.objects.filter(key__iexact=key).first()
        if server is None:
            raise CommandError(f"There is no server with the key {key}.")
        return server
