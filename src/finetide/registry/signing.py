"""A signature over a bundle: Ed25519 (RFC 8032) of its manifest.json, which holds the SHA-256 of every other file.

It lies beside the bundle, not in it (``bundle.sig``), so that signing changes no hash. Keys are PEM files, as
``openssl genpkey -algorithm ed25519`` writes them.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING

from finetide.contracts.bundle import MANIFEST_FILE
from finetide.errors import InputError, IntegrityError
from finetide.files import write_text
from finetide.registry.store import verify_bundle

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def signature_path(bundle: Path) -> Path:
    return bundle.resolve().with_name(f"{bundle.resolve().name}.sig")


def sign(bundle: Path, key: Path) -> Path:
    """Write the signature; returns its path.

    Raises: IntegrityError when the bundle is not what its manifest says; InputError for a key that is none.
    """
    verify_bundle(bundle)
    made = _private_key(key).sign((bundle / MANIFEST_FILE).read_bytes())
    target = signature_path(bundle)
    write_text(target, base64.b64encode(made).decode() + "\n")
    return target


def check(bundle: Path, key: Path) -> None:
    """Raises: IntegrityError when there is no signature, or not one by the owner of ``key`` over these bytes."""
    from cryptography.exceptions import InvalidSignature

    public, path = _public_key(key), signature_path(bundle)
    if not path.is_file():
        raise IntegrityError("is not signed", where=str(bundle), fix=f"finetide sign {bundle} --key PRIVATE_KEY")
    try:
        public.verify(base64.b64decode(path.read_bytes().strip(), validate=True), (bundle / MANIFEST_FILE).read_bytes())
    except (InvalidSignature, binascii.Error) as error:
        raise IntegrityError(
            f"is no signature of this bundle by the key {key.name}",
            where=str(path),
            fix="get bundle and signature from whoever signed it, or the right public key",
        ) from error


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_bytes(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "private", "openssl genpkey -algorithm ed25519 -out key.pem") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, "private", "openssl genpkey -algorithm ed25519 -out key.pem")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_bytes(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, "public", "openssl pkey -in key.pem -pubout -out public.pem") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path, "public", "openssl pkey -in key.pem -pubout -out public.pem")
    return key


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise InputError("no such file", where=str(path), fix="name a PEM file with an Ed25519 key")
    return path.read_bytes()


def _no_key(path: Path, kind: str, command: str) -> InputError:
    return InputError(f"is no {kind} Ed25519 key in PEM without password", where=str(path), fix=command)
