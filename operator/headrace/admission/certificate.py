"""The certificate that the API server knows the webhook by: made here, with an authority of its own each time.

An authority signs one certificate and its key is dropped at once, so that nobody can sign another. Those that came
before stay trusted until they expire, since replicas take up a new certificate a little after one another. Pure, but
for the keys, which are random.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

LIFE: Final = timedelta(days=90)
_RENEWED_AT: Final = 2 / 3
# Clocks of the API server's machine and of ours may differ.
_SKEW: Final = timedelta(hours=1)
_FORMER: Final = 2
_NOT_ONE: Final = (
    ValueError, TypeError, IndexError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound,
    x509.DuplicateExtension, x509.InvalidVersion,
)  # fmt: skip
"""What reading a certificate or key comes out with that is none, or of a kind that is not known."""
_USAGES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class Pair(Struct, frozen=True):
    """A certificate and its key, and the authorities to trust, the signer of the certificate first; each as PEM."""

    certificate: bytes
    key: bytes
    authorities: bytes


def make(host: str, now: datetime, life: timedelta = LIFE, former: bytes = b"") -> Pair:
    """A new certificate for `host`, valid for `life`; `former`: authorities that were trusted before."""
    signer, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    issuer = _name(f"headrace-admission authority {serial:x}"[:64])
    identifier = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
    usage = dict.fromkeys(_USAGES, False)
    authority = (
        _builder(issuer, issuer, signer.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage | {"key_cert_sign": True}), critical=True)
        .add_extension(identifier, critical=False)
        .sign(signer, hashes.SHA256())
    )
    certificate = (
        _builder(_name(host[:64]), issuer, own.public_key(), now, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage | {"digital_signature": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(signer, hashes.SHA256())
    )
    trusted = [one for one in _authorities(former) if one.not_valid_after_utc > now][:_FORMER]
    return Pair(
        certificate=certificate.public_bytes(Encoding.PEM),
        key=own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        authorities=b"".join(one.public_bytes(Encoding.PEM) for one in (authority, *trusted)),
    )


def due(pair: Pair, host: str, now: datetime) -> str:
    """Why a new one is needed, in words; empty when this one does."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        own = load_pem_private_key(pair.key, None).public_key()
        signer = x509.load_pem_x509_certificates(pair.authorities)[0]
        certificate.verify_directly_issued_by(signer)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _NOT_ONE:
        return "there is none that holds"
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if own.public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return "its key is another's"
    if host not in names.get_values_for_type(x509.DNSName):
        return f"it is not for {host}"
    if certificate.not_valid_before_utc > now:
        return "it does not hold yet: the clock that made it was ahead"
    began = certificate.not_valid_before_utc + _SKEW
    renewed_at = began + (certificate.not_valid_after_utc - began) * _RENEWED_AT
    return f"it is to be renewed since {renewed_at:%Y-%m-%d %H:%M:%S}" if now >= renewed_at else ""


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _SKEW,
        not_valid_after=now + life,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _authorities(bundle: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(bundle) if bundle else []
    except _NOT_ONE:
        return []
