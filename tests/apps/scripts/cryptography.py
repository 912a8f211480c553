"""Symmetric encryption, a signature and a certificate: Rust and OpenSSL in one extension module."""
import datetime

from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

box = Fernet(Fernet.generate_key())
print(box.decrypt(box.encrypt(b"secret")))
key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
print(key.sign(b"message").hex())
ca = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")])
when = datetime.datetime(2024, 1, 1)
certificate = (
    x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(ca.public_key())
    .serial_number(5).not_valid_before(when).not_valid_after(when.replace(year=2034)).sign(ca, hashes.SHA256())
)
again = x509.load_pem_x509_certificate(certificate.public_bytes(serialization.Encoding.PEM))
print(again.subject.rfc4514_string(), again.serial_number)
