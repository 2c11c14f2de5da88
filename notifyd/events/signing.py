"""The key that signs checkpoints: Ed25519, RFC 8032. Owns the key file; knows no log.

`cryptography` is imported when a key is used, not before: a run without one must start fast.
"""

from __future__ import annotations

import base64
import os
import stat
import threading
from typing import TYPE_CHECKING, Self

from notifyd.errors import UsageError
from notifyd.policy.trusted import open_trusted

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["PURPOSE", "Signer", "public_key", "verifies"]

PURPOSE = b"notifyd audit checkpoint 1\n"  # so that no signature of this key means anything else
_SIZE = 32  # bytes of a private key, and of a public one


class Signer:
    """Signs with a private key.

    Attributes:
        public: the public key, 64 hexadecimal digits.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw().hex()

    @classmethod
    def open(cls, path: str) -> Self:
        """Read the key in `path`, or create it, mode 0600, if it is missing.

        Raises:
            UsageError: it cannot be made or read, or others can read it.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        secret = _read(path)
        if secret is None:
            _make(path)
            secret = _read(path)
        if secret is None or len(secret) != _SIZE:
            raise UsageError(f"audit: {path!r} is not a key: move it away, and a new one is made")
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    def sign(self, digest: bytes) -> bytes:
        """The signature of a digest, in base64."""
        return base64.b64encode(self._key.sign(PURPOSE + digest))


def verifies(public: str, digest: bytes, signature: bytes) -> bool:
    """Whether a signature, in base64, is that of a key for a digest."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(base64.b64decode(signature), PURPOSE + digest)
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key(text: str) -> str:
    """A public key by its digits, or by the file of its private key.

    Raises:
        UsageError: it is neither.
    """
    try:
        if len(bytes.fromhex(text)) == _SIZE:
            return text.lower()
    except ValueError:
        pass
    if not os.path.exists(text):
        raise UsageError(
            f"{text!r} is not a key: give its 64 digits, as `notifyd audit key` prints it, or the "
            "key file"
        )
    return Signer.open(text).public


def _read(path: str) -> bytes | None:
    """The secret; None if there is no file."""
    if os.path.islink(path):
        raise UsageError(f"audit: the key {path!r} is a link: name the file itself")
    try:
        descriptor = open_trusted(path)
    except FileNotFoundError:
        return None
    except UsageError as error:
        raise UsageError(f"audit: the key {error}") from error
    except OSError as error:
        raise UsageError(
            f"audit: the key {path!r} cannot be read ({error.strerror}): give another with `key`"
        ) from error
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077:
            raise UsageError(
                f"audit: the key {path!r} is a file that others may read: chmod 600 it, or name "
                "another"
            )
        return bytes.fromhex(os.read(descriptor, 2 * _SIZE + 2).decode("ascii").strip())
    except ValueError:
        return b""
    finally:
        os.close(descriptor)


def _make(path: str) -> None:
    """Make a key. Written whole or not at all, and never over another one."""
    draft = f"{path}.{os.getpid()}.{threading.get_ident()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(draft, flags, 0o600), "w", encoding="ascii") as file:
            file.write(os.urandom(_SIZE).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was faster
        finally:
            os.unlink(draft)
    except OSError as error:
        raise UsageError(
            f"audit: no key can be made in {path!r} ({error.strerror}): name a file that you may "
            "write with `key`"
        ) from error
