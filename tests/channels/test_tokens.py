"""Tokens: what is let in, what is refused, and as what."""

from __future__ import annotations

import base64
import hashlib
import random
import string
import zlib
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from itsdangerous import URLSafeSerializer

import exeunt.channels.tokens
from exeunt.channels import TokenError, Tokens
from exeunt.channels.tokens import MAX_AGE, MAX_LENGTH

SECRET = "a secret of more than twenty characters"
NOW = 1_800_000_000.0


class Clock:
    """The time as the module sees it."""

    def __init__(self) -> None:
        self.now = NOW

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(exeunt.channels.tokens, "time", clock)
    return clock


def problem(tokens: Tokens, token: object, salt: str = "user", **options: Any) -> str:
    with pytest.raises(TokenError) as refused:
        tokens.verify(salt, token, **options)
    return refused.value.problem


@pytest.mark.parametrize(
    "data", ["ada", "", 7, None, True, 1.5, [1, "two", None], {"id": 7, "roles": ["a"]}, "é€😀"]
)
def test_what_is_signed_comes_back(data: object) -> None:
    tokens = Tokens(SECRET)
    assert tokens.verify("user", tokens.sign("user", data)) == data


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    ),
    st.text(min_size=1),
)
@pytest.mark.slow
def test_any_json_comes_back_for_any_salt(data: object, salt: str) -> None:
    tokens = Tokens(SECRET)
    try:
        salt.encode()
    except UnicodeEncodeError:
        return
    assert tokens.verify(salt, tokens.sign(salt, data)) == data


def test_a_token_goes_into_a_url_as_it_is() -> None:
    token = Tokens(SECRET).sign("user", {"name": "Ünsal & Co? <3", "blob": "x" * 500})
    assert set(token) <= set(string.ascii_letters + string.digits + "-_.")


def test_none_is_missing() -> None:
    assert problem(Tokens(SECRET), None) == "missing"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "...",
        "garbage",
        "a.b.c",
        "🙂.🙂.🙂",
        "\x00",
        "\ud800",
        " ",
        b"bytes",
        b"",
        7,
        3.5,
        True,
        [],
        ["a"],
        {"token": "x"},
        object(),
        "x" * MAX_LENGTH,
        "x" * (MAX_LENGTH + 1),
        "." * 5000,
        "x" * 10_000_000,
    ],
    ids=lambda token: f"{token!r:.15}",
)
def test_what_is_no_token_is_invalid(token: object) -> None:
    assert problem(Tokens(SECRET), token) == "invalid"


def test_a_token_as_bytes_is_no_token() -> None:
    tokens = Tokens(SECRET)
    assert problem(tokens, tokens.sign("user", "ada").encode()) == "invalid"


def test_of_another_salt_it_is_invalid() -> None:
    tokens = Tokens(SECRET)
    assert problem(tokens, tokens.sign("admin", "ada")) == "invalid"
    assert problem(tokens, tokens.sign("user ", "ada")) == "invalid"


def test_of_another_secret_it_is_invalid() -> None:
    forged = Tokens("somebody else's secret, as long").sign("user", "ada")
    assert problem(Tokens(SECRET), forged) == "invalid"


def test_every_change_of_a_token_makes_it_invalid() -> None:
    tokens = Tokens(SECRET)
    token = tokens.sign("user", {"id": 7})
    alphabet = string.ascii_letters + string.digits + "-_"
    for place, letter in enumerate(token):
        other = alphabet[(alphabet.find(letter) + 17) % len(alphabet)]
        changed = token[:place] + other + token[place + 1 :]
        assert problem(tokens, changed) == "invalid", place
    for size in range(len(token)):
        assert problem(tokens, token[:size]) == "invalid"
    assert problem(tokens, token + "A") == "invalid"
    assert problem(tokens, token.upper()) == "invalid"


def test_data_moved_under_another_signature_is_invalid() -> None:
    tokens = Tokens(SECRET)
    mine, theirs = tokens.sign("user", "eve"), tokens.sign("user", "ada")
    _, signature = mine.split(".")
    assert problem(tokens, f"{theirs.split('.')[0]}.{signature}") == "invalid"


@pytest.mark.slow
def test_an_unsigned_payload_is_never_looked_at() -> None:
    """A payload that would unpack to a great deal is refused for its signature first."""
    bomb = base64.urlsafe_b64encode(zlib.compress(b'"' + b"x" * 50_000_000 + b'"', 9))
    token = "." + bomb.decode().rstrip("=")[: MAX_LENGTH - 100] + ".aaaaaa.bbbbbbbbbbbb"
    assert len(token) <= MAX_LENGTH
    assert problem(Tokens(SECRET), token) == "invalid"


def signed(value: object, secret: str = SECRET, **options: Any) -> str:
    """Sign anything as `Tokens` would."""
    key = hashlib.pbkdf2_hmac("sha256", secret.encode(), b"user", 1000, 32)
    how = {"key_derivation": "none", "digest_method": hashlib.sha256, **options}
    return str(URLSafeSerializer(key, salt="user", signer_kwargs=how).dumps(value))


@pytest.mark.parametrize(
    "held",
    [
        "ada",
        None,
        [],
        {},
        ["ada"],
        ["ada", NOW],
        ["ada", "1", 60],
        ["ada", 1, "x"],
        ["ada", 1.5, 1],
    ],
    ids=repr,
)
def test_what_is_well_signed_but_holds_no_time_is_invalid(held: object, clock: Clock) -> None:
    assert problem(Tokens(SECRET), signed(held), max_age=float("inf")) == "invalid"


def test_a_well_signed_payload_that_is_no_json_is_invalid() -> None:
    key = hashlib.pbkdf2_hmac("sha256", SECRET.encode(), b"user", 1000, 32)
    how = {"key_derivation": "none", "digest_method": hashlib.sha256}
    signer = URLSafeSerializer(key, salt="user", signer_kwargs=how).make_signer("user")
    assert problem(Tokens(SECRET), signer.sign(b"bm8ganNvbg").decode()) == "invalid"


# -- age


def test_it_is_good_for_its_age_and_not_a_second_longer(clock: Clock) -> None:
    tokens = Tokens(SECRET)
    token = tokens.sign("user", "ada")
    clock.now = NOW + 60
    assert tokens.verify("user", token, max_age=60) == "ada"
    clock.now = NOW + 61
    assert problem(tokens, token, max_age=60) == "expired"


def test_without_a_word_it_is_good_for_a_day(clock: Clock) -> None:
    tokens = Tokens(SECRET)
    token = tokens.sign("user", "ada")
    clock.now = NOW + MAX_AGE
    assert tokens.verify("user", token) == "ada"
    clock.now = NOW + MAX_AGE + 1
    assert problem(tokens, token) == "expired"


def test_infinity_is_no_limit(clock: Clock) -> None:
    tokens = Tokens(SECRET)
    token = tokens.sign("user", "ada", signed_at=1)
    assert tokens.verify("user", token, max_age=float("inf")) == "ada"


@pytest.mark.parametrize("max_age", [0, -1, -1e9, float("nan"), float("-inf")])
def test_of_no_age_at_all_everything_is_expired(max_age: float, clock: Clock) -> None:
    tokens = Tokens(SECRET)
    assert problem(tokens, tokens.sign("user", "ada"), max_age=max_age) == "expired"


@pytest.mark.parametrize("max_age", [60, 60.0, 0.25])
def test_it_may_be_signed_with_its_age(max_age: float, clock: Clock) -> None:
    tokens = Tokens(SECRET)
    token = tokens.sign("user", "ada", max_age=max_age)
    clock.now = NOW + max_age
    assert tokens.verify("user", token) == "ada"
    clock.now = NOW + max_age + 0.01
    assert problem(tokens, token) == "expired"


def test_of_the_age_it_was_signed_with_and_the_one_it_is_verified_with_the_latter_holds(
    clock: Clock,
) -> None:
    tokens = Tokens(SECRET)
    short, long = (tokens.sign("user", "ada", max_age=age) for age in (10, 2 * MAX_AGE))
    clock.now = NOW + MAX_AGE + 1
    assert tokens.verify("user", long) == "ada"
    assert problem(tokens, long, max_age=MAX_AGE) == "expired"
    assert problem(tokens, short) == "expired"
    assert tokens.verify("user", short, max_age=2 * MAX_AGE) == "ada"


def test_it_may_be_signed_for_ever_or_for_no_time_but_not_for_what_is_no_number(
    clock: Clock,
) -> None:
    tokens = Tokens(SECRET)
    token = tokens.sign("user", "ada", max_age=float("inf"))
    assert problem(tokens, tokens.sign("user", "ada", max_age=0)) == "expired"
    clock.now = NOW * 100
    assert tokens.verify("user", token) == "ada"
    assert problem(tokens, token, max_age=60) == "expired"
    with pytest.raises(ValueError, match="NaN"):
        tokens.sign("user", "ada", max_age=float("nan"))


@pytest.mark.parametrize("signed_at", [float("nan"), float("inf")])
def test_a_signing_time_that_is_none_is_refused(signed_at: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        Tokens(SECRET).sign("user", "ada", signed_at=signed_at)


def test_from_the_future_it_is_invalid(clock: Clock) -> None:
    tokens = Tokens(SECRET)
    assert problem(tokens, tokens.sign("user", "ada", signed_at=NOW + 5)) == "invalid"
    assert problem(tokens, tokens.sign("user", "ada", signed_at=2**60)) == "invalid"
    clock.now = NOW + 5
    assert tokens.verify("user", tokens.sign("user", "ada", signed_at=NOW + 5)) == "ada"


def test_a_signing_time_of_ones_own_counts(clock: Clock) -> None:
    tokens = Tokens(SECRET)
    token = tokens.sign("user", "ada", signed_at=NOW - 100)
    assert tokens.verify("user", token, max_age=100) == "ada"
    assert problem(tokens, token, max_age=99) == "expired"


def test_an_expired_token_that_is_forged_is_invalid_and_not_expired(clock: Clock) -> None:
    """The signature is checked first: nobody learns from a forgery whether it would be old."""
    forged = Tokens("somebody else's secret, as long").sign("user", "ada", signed_at=1)
    assert problem(Tokens(SECRET), forged) == "invalid"


def test_ages_are_exact_to_the_millisecond(clock: Clock) -> None:
    tokens = Tokens(SECRET)
    clock.now = NOW + 0.999
    token = tokens.sign("user", "ada")
    assert tokens.verify("user", token, max_age=0.1) == "ada"
    clock.now = NOW + 1.098
    assert tokens.verify("user", token, max_age=0.1) == "ada"
    clock.now = NOW + 1.102
    assert problem(tokens, token, max_age=0.1) == "expired"


# -- keys


def test_the_key_is_made_of_secret_and_salt_by_pbkdf2(clock: Clock) -> None:
    assert Tokens(SECRET).verify("user", signed(["ada", int(NOW * 1000), None])) == "ada"


@pytest.mark.parametrize(
    "options", [{"key_iterations": 1}, {"key_digest": "sha512"}, {"key_length": 64}], ids=repr
)
def test_options_of_the_key_make_another_key(options: dict[str, Any]) -> None:
    plain, other = Tokens(SECRET), Tokens(SECRET, **options)
    assert other.verify("user", other.sign("user", "ada")) == "ada"
    assert problem(plain, other.sign("user", "ada")) == "invalid"
    assert problem(other, plain.sign("user", "ada")) == "invalid"


@pytest.mark.parametrize(
    "options",
    [{"key_iterations": 0}, {"key_length": 15}, {"key_digest": "rot13"}],
    ids=repr,
)
def test_options_of_the_key_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least|no digest"):
        Tokens(SECRET, **options)


def test_any_number_of_salts_may_be_used() -> None:
    tokens = Tokens(SECRET, key_iterations=1)
    signed_with = {f"salt {number}": tokens.sign(f"salt {number}", number) for number in range(200)}
    assert [tokens.verify(salt, token) for salt, token in signed_with.items()] == [*range(200)]
    assert len(tokens._serializers) <= 64


# -- secrets


def test_while_secrets_change_the_old_one_verifies_and_the_new_one_signs() -> None:
    old, new = SECRET, "another secret, just as long as that"
    before, during, after = Tokens(old), Tokens(old, new), Tokens(new)
    assert during.verify("user", before.sign("user", "ada")) == "ada"
    assert after.verify("user", during.sign("user", "ada")) == "ada"
    assert problem(before, during.sign("user", "ada")) == "invalid"
    assert problem(after, before.sign("user", "ada")) == "invalid"


def test_a_secret_may_be_bytes() -> None:
    token = Tokens(SECRET).sign("user", "ada")
    assert Tokens(SECRET.encode()).verify("user", token) == "ada"


@pytest.mark.parametrize("secrets", [(), ("",), ("short",), (SECRET, "short"), (b"x" * 19,)])
def test_a_secret_that_is_too_short_is_refused_with_a_way_out(secrets: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="at least 20 characters: make one with"):
        Tokens(*secrets)


def test_what_is_no_json_cannot_be_signed() -> None:
    with pytest.raises(TypeError):
        Tokens(SECRET).sign("user", object())


def test_a_token_that_could_never_be_verified_is_not_made() -> None:
    """One that is longer than what is looked at would be refused for ever."""
    dice = random.Random(1)
    data = "".join(dice.choices(string.ascii_letters, k=2 * MAX_LENGTH))
    with pytest.raises(ValueError, match=str(MAX_LENGTH)):
        Tokens(SECRET).sign("user", data)


def test_the_error_tells_the_problem() -> None:
    assert str(TokenError("expired")) == "the token is expired"
    assert TokenError("missing").problem == "missing"
