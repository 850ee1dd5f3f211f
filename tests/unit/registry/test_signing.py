from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from finetide.errors import InputError, IntegrityError
from finetide.files import sha256_file
from finetide.registry import signing
from support.registry import make_bundle


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    made = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "made", "one")[0]


def test_a_signature_holds_and_changes_no_hash(bundle: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "mine")
    before = sha256_file(bundle / "manifest.json")
    path = signing.sign(bundle, private)
    assert path == bundle.with_name(f"{bundle.name}.sig")
    signing.check(bundle, public)
    assert sha256_file(bundle / "manifest.json") == before
    assert not path.is_relative_to(bundle)


def test_another_key_another_bundle_or_another_byte_is_refused(bundle: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "mine")
    _, stranger = keys(tmp_path, "stranger")
    path = signing.sign(bundle, private)
    with pytest.raises(IntegrityError, match=r"bundle\.sig: is no signature of this bundle by the key stranger\.pub"):
        signing.check(bundle, stranger)
    other, _ = make_bundle(tmp_path / "other", "two")
    shutil.copy(path, signing.signature_path(other))
    with pytest.raises(IntegrityError, match="is no signature of this bundle"):
        signing.check(other, public)
    for torn in (path.read_text()[:-9], "not base64!", ""):
        path.write_text(torn)
        with pytest.raises(IntegrityError, match="is no signature of this bundle"):
            signing.check(bundle, public)


def test_an_unsigned_bundle_is_told_how(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"is not signed\n  fix: finetide sign "):
        signing.check(bundle, keys(tmp_path, "mine")[1])


def test_what_is_no_key_is_refused(bundle: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "mine")
    rsa = tmp_path / "rsa.pem"
    rsa.write_bytes(generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for wrong in (public, rsa, bundle / "manifest.json"):
        with pytest.raises(InputError, match="is no private Ed25519 key in PEM without password"):
            signing.sign(bundle, wrong)
    with pytest.raises(InputError, match="is no public Ed25519 key"):
        signing.check(bundle, private)
    with pytest.raises(InputError, match="no such file"):
        signing.sign(bundle, tmp_path / "missing.pem")


def test_a_damaged_bundle_is_not_signed(bundle: Path, tmp_path: Path) -> None:
    damaged = next(path for path in bundle.rglob("*") if path.is_file() and path.name != "manifest.json")
    damaged.write_bytes(damaged.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="is not what the manifest promises"):
        signing.sign(bundle, keys(tmp_path, "mine")[0])
