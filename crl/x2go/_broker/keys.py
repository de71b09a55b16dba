"""Keys for logins that a session broker prepares: one made here, whose public half is pushed, or one that it gives.

They live in memory only. A made key is ed25519; of a given key nothing but its being one is taken for granted.
"""

from __future__ import annotations

import io
import re

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crl.secrets import Secret
from crl.x2go import defaults
from crl.x2go._broker.answers import refuse_answer

__all__ = ["key_of_text", "line_of_key", "new_key"]

_LIMITS = "no-X11-forwarding,no-user-rc"  # not no-pty: the link's shell has one
_LEAST_BITS_OF_RSA = 2048


def new_key() -> paramiko.PKey:
    """A new key."""
    made = Ed25519PrivateKey.generate()
    text = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii")
    return paramiko.Ed25519Key(file_obj=io.StringIO(text))


def line_of_key(key: paramiko.PKey) -> str:
    """The line of ``authorized_keys`` for a key; whoever logs in by it gets no X11, and none of his files is run."""
    user = re.sub(r"[^\w.-]", "_", defaults.CURRENT_LOCAL_USER, flags=re.ASCII)
    return f"{_LIMITS} {key.get_name()} {key.get_base64()} {user}@127.0.0.1"


def key_of_text(text: Secret) -> paramiko.PKey:
    """A key that a broker gave.

    Raises:
        X2GoBrokerAnswerRefused: It is none that can be used.
    """
    kinds: tuple[type[paramiko.PKey], ...] = (paramiko.RSAKey, paramiko.Ed25519Key, paramiko.ECDSAKey)
    for kind in kinds:
        try:
            key = kind.from_private_key(io.StringIO(text.value))
        except (paramiko.SSHException, ValueError, TypeError):  # of another type, locked, or garbage
            continue
        if kind is paramiko.RSAKey and key.get_bits() < _LEAST_BITS_OF_RSA:
            refuse_answer(f"the key it gives has {key.get_bits()} bits only")
        return key
    return refuse_answer("the key it gives cannot be read")
