"""Who is who: signing in gives a person an id, and a signed token that proves it.

There are no passwords: anybody may call themselves Ada. So a name is no identity. Whoever signs in
gets an id that nobody can guess, inside a token that nobody can forge; the browser keeps it, and so
all tabs of that browser are one person. Private messages go to an id, and never to a name.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from examples.chat.limits import Declined, name_from
from exeunt.channels import TokenError, Tokens

TOKEN_AGE: Final = 24 * 3600.0
"""Seconds that a token lets a browser connect."""

RENEWAL_AGE: Final = 30 * 24 * 3600.0
"""Seconds that it can be changed for a new one of the same id. After that one is a new person."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has signed in."""

    id: str
    name: str


def sign_in(tokens: Tokens, name: object, old_token: object = None) -> tuple[Person, str]:
    """Return who somebody is from now on, and their token; raises `Declined` for a bad name.

    With a token of an earlier time and the same name, it is the same person.
    """
    name = name_from(name)
    person = Person(secrets.token_urlsafe(9), name)
    try:
        known = person_from(tokens, old_token, max_age=RENEWAL_AGE)
        if known.name == name:
            person = known
    except Declined:
        pass
    return person, tokens.sign("person", {"id": person.id, "name": person.name})


def person_from(tokens: Tokens, token: object, *, max_age: float = TOKEN_AGE) -> Person:
    """Return whose token this is; raises `Declined` if it is missing, forged or too old."""
    try:
        data = tokens.verify("person", token, max_age=max_age)
    except TokenError as error:
        raise Declined(str(error)) from None
    match data:
        case {"id": str(id), "name": str(name)}:
            return Person(id, name)
        case _:
            raise Declined("the token is for something else")
