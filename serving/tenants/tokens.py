"""Tokens: `mlp_<key id>_<secret>`, of which only the SHA-256 is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

_FORM = re.compile(r"mlp_([a-z0-9]{4,32})_([A-Za-z0-9_-]{43})\Z")
_ID_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token; times are seconds since 1970, None for never."""

    id: str
    sha256: str
    created_at_s: float
    expires_at_s: float | None = None

    def is_valid_at(self, now_s: float) -> bool:
        """Whether the token has not expired."""
        return self.expires_at_s is None or now_s < self.expires_at_s


def new_token(now_s: float, expires_at_s: float | None = None) -> tuple[str, TokenRecord]:
    """A token of 256 random bits, to be shown once, and what to keep of it."""
    key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(10))
    text = f"mlp_{key_id}_{secrets.token_urlsafe(32)}"
    return text, TokenRecord(key_id, digest(text), now_s, expires_at_s)


def digest(text: str) -> str:
    """SHA-256 of the whole token in hex. A secret of 256 random bits needs no slow hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def key_id_of(text: str) -> str | None:
    """The key id within a well-formed token, else None."""
    found = _FORM.match(text)
    return found.group(1) if found is not None else None


def is_same(text: str, record: TokenRecord) -> bool:
    """Whether this is the record's token; the time taken does not depend on where they differ."""
    return hmac.compare_digest(digest(text), record.sha256)
