"""Making, checking and revoking user tokens."""

from datetime import datetime, timedelta

from accounts.models import User, UserToken
from backoffice.credentials import Credential, is_secret, make_credential

LAST_USED_RESOLUTION = timedelta(minutes=1)


def create_user_token(
    user: User, *, name: str = "", is_read_only: bool = False, expires_at: datetime | None = None
) -> tuple[UserToken, Credential]:
    """Make a token; the credential's text is to be shown once and then forgotten."""
    credential = make_credential(UserToken.KIND)
    token = UserToken.objects.create(
        user=user,
        name=name,
        token_id=credential.id,
        digest=credential.digest,
        is_read_only=is_read_only,
        expires_at=expires_at,
    )
    return token, credential


def find_user_token(credential: Credential, moment: datetime) -> UserToken | None:
    """Return the valid token that `credential` belongs to, with its user, or None."""
    token = UserToken.objects.valid(moment).select_related("user").filter(token_id=credential.id).first()
    return token if token and is_secret(credential.secret, token.digest) else None


def note_use(token: UserToken, moment: datetime) -> None:
    """Keep when a token was last used, written at most once a minute."""
    if token.last_used_at is None or moment - token.last_used_at >= LAST_USED_RESOLUTION:
        UserToken.objects.filter(pk=token.pk).update(last_used_at=moment)


def revoke_user_token(token: UserToken, moment: datetime) -> None:
    UserToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=moment)
