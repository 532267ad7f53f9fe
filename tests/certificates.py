"""Certificates of an authority of one's own."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


def write_certificate(folder: Path, *, elliptic: bool = False, form: str = "TraditionalOpenSSL") -> Path:
    """A self-signed certificate of localhost, its own authority: `tls.crt` and `tls.key`, as a Secret has them; the
    first. Key and form are cert-manager's, unless told otherwise: RSA, PKCS #1."""
    key = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ours")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )
    folder.mkdir(parents=True, exist_ok=True)
    public, private = folder / "tls.crt", folder / "tls.key"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding, written = serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form)
    private.write_bytes(key.private_bytes(encoding, written, serialization.NoEncryption()))
    return public
