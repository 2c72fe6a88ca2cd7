"""Agencies' API keys at rest: what comes back, with which keys, and what never shows."""

import traceback
from contextlib import suppress

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from service.processor.credentials import Credentials, UnreadableKeyError

API_KEY = "abcd1234.0123456789abcdef0123456789abcdef"
OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


def credentials(*keys: str) -> Credentials:
    return Credentials(tuple(SecretStr(key) for key in keys))


@given(st.text())
@settings(max_examples=25, deadline=None)
def test_what_was_encrypted_comes_back(api_key: str) -> None:
    both = credentials(NEW, OLD)
    assert both.decrypt(both.encrypt(api_key)).get_secret_value() == api_key


def test_the_ciphertext_hides_the_key_and_differs_every_time() -> None:
    first, second = (credentials(NEW).encrypt(API_KEY) for _ in range(2))
    assert first != second
    assert API_KEY.encode() not in first + second


def test_rotation_reads_with_the_old_key_and_writes_with_the_new_one() -> None:
    before = credentials(OLD).encrypt(API_KEY)
    rotated = credentials(NEW, OLD)
    assert rotated.decrypt(before).get_secret_value() == API_KEY
    after = rotated.encrypt(API_KEY)
    assert credentials(NEW).decrypt(after).get_secret_value() == API_KEY
    with pytest.raises(UnreadableKeyError):
        credentials(OLD).decrypt(after)


def test_another_key_cannot_read_it_and_the_error_tells_no_secret() -> None:
    ciphertext = credentials(NEW).encrypt(API_KEY)
    with pytest.raises(UnreadableKeyError) as caught:
        credentials(OTHER, OLD).decrypt(ciphertext)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not [secret for secret in (API_KEY, OLD, OTHER, ciphertext.decode()) if secret in told]


TOKEN = credentials(NEW).encrypt(API_KEY)
DAMAGED = {
    "empty": b"",
    "cut": TOKEN[:-8],
    "cut within a group": TOKEN[:-5],
    "one byte changed": TOKEN[:40] + (b"B" if TOKEN[40:41] == b"A" else b"A") + TOKEN[41:],
    "another version": b"hAAA" + TOKEN[4:],
    "the key itself": API_KEY.encode(),
    "not text": b"\x00\xff\xfe" * 20,
    "not base64": "ключ".encode(),
}


@pytest.mark.parametrize("ciphertext", DAMAGED.values(), ids=DAMAGED)
def test_damaged_ciphertext_is_unreadable(ciphertext: bytes) -> None:
    with pytest.raises(UnreadableKeyError, match="no key of CREDENTIALS_KEY"):
        credentials(NEW, OLD).decrypt(ciphertext)


@given(st.binary(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_api_key_or_unreadable(stored: bytes, encrypted: bool) -> None:
    ciphertext = Fernet(NEW).encrypt(stored) if encrypted else stored
    with suppress(UnreadableKeyError):
        assert isinstance(credentials(NEW, OLD).decrypt(ciphertext), SecretStr)


@pytest.mark.parametrize("stored", [b"\xff", "clé".encode("latin-1"), API_KEY.encode("utf-16"), b"key\xc3"])
def test_what_was_encrypted_and_is_not_text_is_unreadable(stored: bytes) -> None:
    with pytest.raises(UnreadableKeyError, match="is not text") as caught:
        credentials(NEW).decrypt(Fernet(NEW).encrypt(stored))
    # What Python says of such bytes quotes them.
    assert "codec" not in "".join(traceback.format_exception(caught.value))


def test_without_a_key_nothing_is_encrypted_or_decrypted() -> None:
    none = credentials()
    with pytest.raises(UnreadableKeyError, match="is not set"):
        none.encrypt(API_KEY)
    with pytest.raises(UnreadableKeyError, match="is not set"):
        none.decrypt(TOKEN)


def test_no_secret_shows_in_a_repr() -> None:
    both = credentials(NEW, OLD)
    shown = repr((both, both.decrypt(TOKEN), str(both.decrypt(TOKEN)), str(both)))
    assert not [secret for secret in (API_KEY, NEW, OLD) if secret in shown]
