"""Signed tokens: how a page proves to the socket who its user is.

    tokens = Tokens(secret)
    token = tokens.sign("user", "ada")               # on the page, behind the login
    user = tokens.verify("user", token, max_age=3600)    # in Socket.connect

A token is signed, not encrypted: whoever has it can read it, nobody can make one. The signatures
are itsdangerous'; the rules for what is refused, and why, are those of Phoenix.Token.

Phoenix: tokens may be encrypted there too. Here what nobody may read does not go into a token: sign
an id, and look the rest up. A token of the one is none of the other, whatever the secret.
"""

from __future__ import annotations

import hashlib
import time
from math import inf
from typing import Any, Final, Literal, TypeAlias

from itsdangerous import BadData, URLSafeSerializer

MAX_AGE: Final = 86_400.0
"""Seconds that a token is good for, unless it is said otherwise: a day."""

MAX_LENGTH: Final = 8192
"""Characters of the longest token that is looked at."""

KEY_ITERATIONS: Final = 1000
"""How often the secret is hashed to make a key of it. It is long and random, so this is enough."""

KEY_LENGTH: Final = 32
"""Bytes of a key."""

_KNOWN_SALTS: Final = 64  # for so many, the keys are kept; salts stand in the program's text

Problem: TypeAlias = Literal["expired", "invalid", "missing"]


class TokenError(Exception):
    """A token is not accepted; `problem` is `"expired"`, `"invalid"` or `"missing"`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"the token is {problem}")
        self.problem: Problem = problem


class Tokens:
    """Signs and verifies with one secret, or with several while it is being changed."""

    def __init__(
        self,
        *secrets: str | bytes,
        key_iterations: int = KEY_ITERATIONS,
        key_length: int = KEY_LENGTH,
        key_digest: str = "sha256",
    ) -> None:
        """Use a secret of at least 20 characters; of several, the last one signs and all verify.

        The key for each salt is made of secret and salt by PBKDF2, with so many iterations of a
        digest that `hashlib` knows. Raises `ValueError` if that makes no sense.
        """
        if not secrets or any(len(one) < 20 for one in secrets):
            raise ValueError(
                "the secret of tokens has at least 20 characters: make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        if key_iterations < 1 or key_length < 16:
            raise ValueError(
                "a key takes at least 1 iteration and 16 bytes, "
                f"not {key_iterations!r} and {key_length!r}"
            )
        self._secrets = [one.encode() if isinstance(one, str) else one for one in secrets]
        self._iterations = key_iterations
        self._length = key_length
        self._digest = key_digest
        self._serializers: dict[str, URLSafeSerializer] = {}
        try:
            self._key(self._secrets[0], "")
        except ValueError:
            raise ValueError(f"there is no digest {key_digest!r} for keys here") from None

    def sign(
        self, salt: str, data: Any, *, signed_at: float | None = None, max_age: float = MAX_AGE
    ) -> str:
        """Return a token that holds `data`, any JSON value, good for this `salt` only.

        `signed_at` is the time that it counts from, in seconds since the epoch, by default now; it
        is kept to the millisecond. `max_age` is in seconds from then, `inf` for no limit, and holds
        unless `verify` says otherwise. Raises `ValueError` if the token would be longer than
        `verify` takes.
        """
        if max_age != max_age:
            raise ValueError("the max_age of a token is a number of seconds, not NaN")
        signed = int((time.time() if signed_at is None else signed_at) * 1000)
        age = None if max_age == inf else max_age
        token = str(self._serializer(salt).dumps([data, signed, age]))
        if len(token) > MAX_LENGTH:
            raise ValueError(
                f"the data makes a token of {len(token)} characters, and no token is longer than "
                f"{MAX_LENGTH}: sign an id, and look the rest up"
            )
        return token

    def verify(self, salt: str, token: object, *, max_age: float | None = None) -> Any:
        """Return what a token holds.

        `max_age` is in seconds, `inf` for no limit; by default it is what the token was signed
        with. Raises `TokenError`: missing (None), invalid (forged, of another salt or secret, no
        token at all, or signed in the future), or expired.

        Phoenix: what is neither a string nor None raises there, and is invalid here, since it comes
        from the client.
        """
        if token is None:
            raise TokenError("missing")
        if not isinstance(token, str) or len(token) > MAX_LENGTH:
            raise TokenError("invalid")
        try:
            held: object = self._serializer(salt).loads(token)
        except (BadData, ValueError):
            raise TokenError("invalid") from None
        match held:
            case [data, int(signed), None | int() | float() as age]:
                # None stands for a token without a limit, since JSON has no infinity.
                limit = (inf if age is None else age) if max_age is None else max_age
            case _:
                # Well signed, but not by `sign`.
                raise TokenError("invalid")
        passed = time.time() * 1000 - signed
        if passed < 0:
            raise TokenError("invalid")
        # Nothing is good for no time at all, nor for NaN seconds.
        if not (limit > 0 and passed <= limit * 1000):
            raise TokenError("expired")
        return data

    def _serializer(self, salt: str) -> URLSafeSerializer:
        found = self._serializers.get(salt)
        if found is None:
            if len(self._serializers) >= _KNOWN_SALTS:
                self._serializers.clear()
            # The key is made already, and the salt is in it.
            found = self._serializers[salt] = URLSafeSerializer(
                [self._key(secret, salt) for secret in self._secrets],
                salt=salt,
                signer_kwargs={"key_derivation": "none", "digest_method": hashlib.sha256},
            )
        return found

    def _key(self, secret: bytes, salt: str) -> bytes:
        return hashlib.pbkdf2_hmac(
            self._digest, secret, salt.encode(), self._iterations, self._length
        )
