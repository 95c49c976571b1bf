"""Signatures by minisign over `bundle.json`, which has the hashes of all else."""

from __future__ import annotations

from pathlib import Path

from lineside.edge.errors import UpdateError
from lineside.runtime.manifest import MANIFEST

SIGNATURE = f"{MANIFEST}.minisig"


def check_signature(manifest: bytes, signature: bytes, key: Path) -> None:
    """Raises UpdateError where the owner of the public key `key` has not signed it."""
    try:
        import minisign
    except ImportError:
        raise UpdateError("not_signed", "signatures need another package: pip install 'lineside[signatures]'") from None
    try:
        public = minisign.PublicKey.from_bytes(key.read_bytes())
    except (OSError, ValueError, minisign.Error) as error:
        raise UpdateError("not_signed", f"{key} is not a public key of minisign ({error})") from None
    try:
        public.verify(manifest, minisign.Signature.from_bytes(signature))
    except (ValueError, minisign.Error) as error:
        raise UpdateError("not_signed", f"{SIGNATURE} is not of the owner of {key} ({error})") from None
