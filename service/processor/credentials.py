"""Agencies' Ultravox API keys, encrypted at rest (Fernet: AES-128-CBC with HMAC-SHA256)."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr


class UnreadableKeyError(Exception):
    """CREDENTIALS_KEY does not list the key that made the ciphertext, or it is damaged, or never held an API key."""


class Credentials:
    """Encrypts with the first key of CREDENTIALS_KEY and decrypts with any: to rotate, put the new one in front."""

    def __init__(self, keys: tuple[SecretStr, ...]) -> None:
        self._fernet = MultiFernet([Fernet(key.get_secret_value()) for key in keys]) if keys else None

    def encrypt(self, api_key: str) -> bytes:
        """Raises UnreadableKeyError without a CREDENTIALS_KEY."""
        if self._fernet is None:
            raise UnreadableKeyError("CREDENTIALS_KEY is not set")
        return self._fernet.encrypt(api_key.encode())

    def decrypt(self, ciphertext: bytes) -> SecretStr:
        """Return the API key. Raises UnreadableKeyError, whatever the bytes are."""
        if self._fernet is None:
            raise UnreadableKeyError("CREDENTIALS_KEY is not set")
        try:
            return SecretStr(self._fernet.decrypt(ciphertext).decode())
        except InvalidToken:
            raise UnreadableKeyError("no key of CREDENTIALS_KEY made this ciphertext") from None
        except UnicodeDecodeError:  # whose text would tell what it could not decode
            raise UnreadableKeyError("what was encrypted is not text") from None
