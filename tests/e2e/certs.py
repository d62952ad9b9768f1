"""Certificates made by the test: an authority, and what it signs."""
import datetime
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def days(count):
    return datetime.timedelta(days=count)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key):
    return key.private_bytes(serialization.Encoding.PEM,
                             serialization.PrivateFormat.TraditionalOpenSSL,
                             serialization.NoEncryption())


def serving(pem_file):
    """An SSLContext that serves what issue() has made."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem_file)
    return context


class Authority:
    """Signs itself, or is signed by an `issuer`: then its certificate, and those above it but the
    root's, go with what it issues."""

    def __init__(self, directory, name="test authority", issuer=None, not_after=None):
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = name
        self._serial = 0
        above = issuer or self
        own = above._build(name, self._key, now() - days(30), not_after or now() + days(3650))
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self._pem = above.sign(own)
        self._chain = self._pem + issuer._chain if issuer else b""
        self.ca_file = directory / f"{name.replace(' ', '-')}.pem"
        self.ca_file.write_bytes(self._pem)

    def sign(self, built):
        """The PEM of what a builder has built."""
        return built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _build(self, subject, key, not_before, not_after):
        self._serial += 1
        return (x509.CertificateBuilder().subject_name(_name(subject))
                .issuer_name(_name(self._name)).public_key(key.public_key())
                .serial_number(self._serial)
                .not_valid_before(not_before).not_valid_after(not_after))

    def issue(self, host="127.0.0.1", not_before=None, not_after=None, padding=0, more=()):
        """A PEM file with key and certificate for `host`; valid for 90 days unless told. `padding`
        makes the certificate longer by some more bytes than that; `more` are extensions."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = self._build(host, key, not_before or now() - days(1),
                            not_after or now() + days(90))
        names = [_alternative(host)]
        names += [x509.DNSName("x" * 60 + f"{i:06}") for i in range((padding + 63) // 64)]
        built = built.add_extension(x509.SubjectAlternativeName(names), False)
        for extension in more:
            built = built.add_extension(extension, False)
        path = self._directory / f"{self._name.replace(' ', '-')}-{self._serial}.pem"
        path.write_bytes(_pem(key) + self.sign(built) + self._chain)
        return path

    def server(self, *args, client_ca=None, **kwargs):
        """An SSLContext that serves issue(...); with client_ca it asks for a certificate."""
        context = serving(self.issue(*args, **kwargs))
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
