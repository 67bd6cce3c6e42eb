"""Signed tokens: how a page proves to the socket who its user is.

    tokens = Tokens(secret)
    token = tokens.sign("user", "ada")               # on the page, behind the login
    user = tokens.verify("user", token, max_age=3600)    # in Socket.connect

A token is signed, not encrypted: whoever has it can read it, nobody can make one. The signatures
are itsdangerous'; the rules for what is refused, and why, are those of Phoenix.Token.
"""

from __future__ import annotations

import time
from typing import Any, Final, Literal, TypeAlias

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

MAX_AGE: Final = 86_400.0
"""Seconds that a token is good for, unless `verify` is told otherwise: a day."""

MAX_LENGTH: Final = 8192
"""Characters of the longest token that is looked at."""

Problem: TypeAlias = Literal["expired", "invalid", "missing"]


class TokenError(Exception):
    """A token is not accepted; `problem` is `"expired"`, `"invalid"` or `"missing"`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"the token is {problem}")
        self.problem: Problem = problem


class _SignedAt(TimestampSigner):
    """Signs with a time that is given, and not with the clock's."""

    signed_at: int

    def get_timestamp(self) -> int:
        return self.signed_at


class Tokens:
    """Signs and verifies with one secret, or with several while it is being changed."""

    def __init__(self, *secrets: str | bytes) -> None:
        """Use a secret of at least 20 characters; of several, the last one signs and all verify."""
        if not secrets or any(len(one) < 20 for one in secrets):
            raise ValueError(
                "the secret of tokens has at least 20 characters: make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        self._secrets = [one.encode() if isinstance(one, str) else one for one in secrets]

    def sign(self, salt: str, data: Any, *, signed_at: float | None = None) -> str:
        """Return a token that holds `data`, any JSON value, good for this `salt` only.

        `signed_at` is the time that it counts from, in seconds since the epoch, by default now.
        Raises `ValueError` if the token would be longer than `verify` takes.
        """
        token = self._token(salt, data, signed_at)
        if len(token) > MAX_LENGTH:
            raise ValueError(
                f"the data makes a token of {len(token)} characters, and no token is longer than "
                f"{MAX_LENGTH}: sign an id, and look the rest up"
            )
        return token

    def _token(self, salt: str, data: Any, signed_at: float | None) -> str:
        serializer = self._serializer(salt)
        if signed_at is not None:
            serializer.signer = _SignedAt
            signer = serializer.make_signer(salt)
            assert isinstance(signer, _SignedAt)
            signer.signed_at = int(signed_at)
            return signer.sign(serializer.dump_payload(data)).decode("ascii")
        return str(serializer.dumps(data))

    def verify(self, salt: str, token: object, *, max_age: float = MAX_AGE) -> Any:
        """Return what a token holds.

        `max_age` is in seconds, `inf` for no limit; the time of signing is known to the second.
        Raises `TokenError`: missing (None), invalid (forged, of another salt or secret, no token
        at all, or signed in the future), or expired.
        """
        if token is None:
            raise TokenError("missing")
        if not isinstance(token, str) or len(token) > MAX_LENGTH:
            raise TokenError("invalid")
        try:
            data, signed_at = self._serializer(salt).loads(token, return_timestamp=True)
        except (BadData, ValueError, OverflowError, OSError):
            raise TokenError("invalid") from None
        age = time.time() - signed_at.timestamp()
        # itsdangerous would call a token from the future expired, and accept one of age 0 though
        # nothing may be older than 0 seconds; Phoenix does neither.
        if age < 0:
            raise TokenError("invalid")
        if max_age <= 0 or age > max_age:
            raise TokenError("expired")
        return data

    def _serializer(self, salt: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._secrets, salt=salt)
