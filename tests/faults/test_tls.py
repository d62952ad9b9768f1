"""The fault matrix: TLS, and what its certificates say."""
import ctypes
import ssl
import time

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certs import Authority, days, now, serving
from matrix import row
from peers import reply_bytes
from waiting import SCALE, wait_for
from witness import TIMEOUT_S, ms

TIMEOUT = rf"Error\. timeout after {ms(TIMEOUT_S * SCALE)} in "


@pytest.fixture
def watched(peers, authority, witness):
    """A peer with a good certificate, watched."""
    def watch(scheme="https", settings="", **how):
        peer = peers.http(tls=authority.server())
        witness.watch(peer.url("/" if scheme == "https" else "", scheme),
                      f'ca_file = "{authority.ca_file}"; {settings}', **how)
        return peer
    return watch


def exchanged(witness, peer, bad, state, outcome=None):
    """The fault is that its identity is `bad`, the recovery that it has its own again."""
    good = peer.tls
    with witness.fault(state, outcome=outcome):
        peer.tls = bad
    with witness.recovery():
        peer.tls = good


def certificate(fault, holds, scheme, state, outcome, name, **made):
    return pytest.param(scheme, made, state, outcome, id=name, marks=row(fault, holds))


@pytest.mark.parametrize("scheme, made, state, outcome", [
    certificate("certificate expired", "down: expired, and since when", "https",
                r"Error\. certificate expired 2 days ago", "tls_expired", "expired",
                not_before=-20, not_after=-2),
    certificate("certificate not yet valid", "down: not yet valid, and for how long", "https",
                r"Error\. certificate not valid for another [23] days", "tls_not_yet_valid",
                "not-yet", not_before=3, not_after=30),
    certificate("certificate for another host", "down: for whom it is, and for whom not", "tls",
                r"Error\. certificate is for .*elsewhere\.test.*, not for '127\.0\.0\.1'",
                "tls_wrong_host", "wrong-host", host="elsewhere.test"),
])
def test_a_bad_certificate(watched, witness, authority, scheme, made, state, outcome):
    peer = watched(scheme)
    made = {key: now() + days(value) if isinstance(value, int) else value
            for key, value in made.items()}
    bad = authority.server(**made)
    exchanged(witness, peer, bad, state, outcome=outcome)


@row("certificate of an authority that nobody knows", "down: not trusted")
def test_an_unknown_authority(watched, witness, tmp_path):
    peer = watched()
    unknown = Authority(tmp_path, "another authority").server()
    exchanged(witness, peer, unknown, r"Error\. certificate not trusted.*", outcome="tls_untrusted")


@row("the certificate of the issuer, in the middle of the chain, expired",
     "down: expired, and whose")
def test_an_expired_issuer(watched, witness, authority, tmp_path):
    peer = watched()
    between = Authority(tmp_path, "between", authority, not_after=now() - days(2))
    bad = between.server()
    exchanged(witness, peer, bad,
              r"Error\. issuer's certificate 'between' expired 2 days ago", outcome="tls_expired")


@row("the authority is taken back: its certificate is replaced in `ca_file`, SIGHUP",
     "down: not trusted; up when it is back and read again")
def test_an_authority_taken_back(watched, witness, authority, tmp_path):
    watched()
    good = authority.ca_file.read_bytes()
    other = Authority(tmp_path, "another authority").ca_file.read_bytes()
    with witness.fault(r"Error\. certificate not trusted.*", outcome="tls_untrusted"):
        authority.ca_file.write_bytes(other)
        witness.svc.reload(witness.conf)
    with witness.recovery():
        authority.ca_file.write_bytes(good)
        witness.svc.reload(witness.conf)


@row("certificate revoked: it is in the CRL that it points to, and in the one beside the authority",
     "up: no CRL and no OCSP server is asked, by it as by OpenSSL unless told; nobody is connected to "
     "for that. What is revoked must be exchanged by its server, or its authority taken back")
def test_a_revoked_certificate(watched, witness, peers, authority):
    peer = watched()
    publisher = peers.http()
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(publisher.url("/crl"))],
                                   None, None, None)
    revoked = authority.issue(more=[x509.CRLDistributionPoints([point])])
    serial = x509.load_pem_x509_certificate(revoked.read_bytes()).serial_number
    listed = (x509.RevokedCertificateBuilder().serial_number(serial)
              .revocation_date(now() - days(1)).build())
    crl = (x509.CertificateRevocationListBuilder()
           .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")]))
           .last_update(now() - days(1)).next_update(now() + days(1))
           .add_revoked_certificate(listed))
    publisher.body = authority.sign(crl).decode()
    with witness.harmless():
        with open(authority.ca_file, "ab") as file:
            file.write(authority.sign(crl))
        witness.svc.reload(witness.conf)
        peer.tls = serving(revoked)
    assert publisher.connections == 0


@row("the certificate is exchanged while it runs, for another good one",
     "up; the days it has left follow")
def test_an_exchanged_certificate(watched, witness, authority):
    peer = watched()
    new = authority.server(not_after=now() + days(41))
    with witness.harmless():
        peer.tls = new
    left = (witness.svc.metric('probe_ssl_earliest_cert_expiry{dependency="faulty"}')
            - time.time()) / 86400
    assert 40.9 < left < 41.1


@row("a chain of 200 KB", "down: too long")
def test_a_giant_chain(watched, witness, authority, tmp_path):
    peer = watched()
    giant = tmp_path / "giant.pem"
    one = authority.issue(padding=1500).read_bytes()
    giant.write_bytes(authority.issue().read_bytes()
                      + 100 * one[one.index(b"-----BEGIN CERTIFICATE"):])
    bad = serving(giant)
    exchanged(witness, peer, bad,
              r"Error\. TLS handshake failed: excessive message size", outcome="tls_handshake")


@row("a true chain of 50 authorities, 22 KB", "up: followed to its end (OpenSSL's limit is 100)")
def test_a_deep_chain(watched, witness, authority, tmp_path):
    peer = watched(period=1.0, timeout=0.9)
    above = authority
    for i in range(50):
        above = Authority(tmp_path, f"a{i}", above)
    deep = above.server()
    with witness.harmless(3):
        peer.tls = deep
        handshakes = peer.connections
    assert peer.connections >= handshakes + 2  # the first of the three may have begun before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@row("a server that speaks no more than TLS 1.1", "down: there is no way below TLS 1.2")
def test_a_downgrade(watched, witness, authority):
    peer = watched()
    old = authority.server()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    exchanged(witness, peer, old,
              r"Error\. peer refuses TLS: alert 'protocol version'", outcome="tls_handshake")


@row("the server demands a certificate of the client's, which has none",
     "down: what the server says of it, unless its reset overtakes that")
def test_a_demand_for_a_certificate(watched, witness, authority):
    peer = watched()
    demanding = authority.server(client_ca=authority.ca_file)
    exchanged(witness, peer, demanding,
              r"Error\. (peer refuses TLS: alert '\w.*'|connection reset by peer)")


@row("plain text on the TLS port", "down: it does not speak TLS")
def test_plain_text(watched, witness):
    peer = watched()
    good = peer.tls
    plain = peer.serve

    def greeting(peer, sock):
        sock.sendall(b"220 mail.test ESMTP\r\n")
        peer.hold(sock)
    with witness.fault(r"Error\. TLS handshake failed: .*: peer does not speak TLS",
                       outcome="tls_handshake"):
        peer.tls, peer.serve = None, greeting
    with witness.recovery():
        peer.tls, peer.serve = good, plain


# ---- servers that are taken apart, record by record ----

class Stalled(OSError):
    pass


class Records:
    """The server's side of one connection. No more than `limit` of its records go out, and half of
    the next: then it is Stalled."""

    def __init__(self, sock, context, limit=None):
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._limit = limit
        self.sent = 0

    def run(self, call, *args):
        """One call of self.tls, with all the bytes it wants and makes."""
        while True:
            try:
                return call(*args)
            except ssl.SSLWantReadError:
                self.flush()
                got = self._sock.recv(65536)
                if not got:
                    raise ConnectionError from None
                self._incoming.write(got)
            finally:
                self.flush()

    def take(self, record):
        """As if the client had sent it."""
        self._incoming.write(record)

    def flush(self):
        made = self._outgoing.read()
        while made:
            end = 5 + int.from_bytes(made[3:5], "big")  # RFC 8446 section 5.1
            record, made = made[:end], made[end:]
            if self.sent == self._limit:
                self._sock.sendall(record[:end // 2])
                raise Stalled
            self._sock.sendall(record)
            self.sent += 1


@row("the handshake stalls: after each of its records in turn, in the middle of the next",
     "down: timeout in tls, wherever it stalls")
def test_a_handshake_that_stalls(peers, witness, authority):
    context = authority.server()
    context.num_tickets = 0  # they come after the handshake
    stalled, whole = set(), []

    def serve(peer, sock):
        records = Records(sock, context, peer.limit() if peer.limit else None)
        try:
            records.run(records.tls.do_handshake)
        except Stalled:
            stalled.add(records.sent)
            peer.hold(sock)
            return
        whole.append(records.sent)
        records.run(records.tls.read, 4096)
        records.run(records.tls.write, reply_bytes())
    peer = peers.add(serve)
    peer.limit = None
    witness.watch(peer.url(scheme="https"), f'ca_file = "{authority.ca_file}";')
    with witness.fault(TIMEOUT + "tls", outcome="timeout"):
        peer.limit = lambda: peer.connections % whole[0]
    wait_for(lambda: stalled == set(range(whole[0])), 10, f"{whole[0]} stalls")
    with witness.recovery():
        peer.limit = None
    assert len(set(whole)) == 1 and whole[0] >= 4


@row("a fatal alert in the middle of the reply", "down: what the alert says")
def test_an_alert_in_a_reply(watched, witness):
    peer = watched()
    good, serve_good = peer.tls, peer.serve

    def serve(peer, sock):
        records = Records(sock, good)
        records.run(records.tls.do_handshake)
        records.run(records.tls.read, 4096)
        records.run(records.tls.write, b"HTTP/1.1 200 OK\r\nContent-Le")
        records.take(b"\x17\x03\x03\x00\x20" + b"x" * 32)  # as if the client had sent nonsense
        try:
            records.run(records.tls.read, 4096)
        except ssl.SSLError:
            peer.hold(sock)
    with witness.fault(r"Error\. peer refuses TLS: alert 'bad record mac'",
                       outcome="tls_handshake"):
        peer.tls, peer.serve = None, serve
    with witness.recovery():
        peer.tls, peer.serve = good, serve_good


class Renegotiator:
    """A TLS 1.2 server that asks for a new handshake between question and answer. Python's ssl can
    not, so OpenSSL is called as it is."""
    MAX_VERSION, TLS1_2, PEM = 124, 0x0303, 1

    def __init__(self, pem_file):
        self._ssl = lib = ctypes.CDLL("libssl.so.3")
        for name in ("TLS_server_method", "SSL_CTX_new", "SSL_new"):
            getattr(lib, name).restype = ctypes.c_void_p
        self._ctx = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_server_method())))
        path = str(pem_file).encode()
        assert lib.SSL_CTX_ctrl(self._ctx, self.MAX_VERSION, ctypes.c_long(self.TLS1_2), None) == 1
        assert lib.SSL_CTX_use_certificate_chain_file(self._ctx, path) == 1
        assert lib.SSL_CTX_use_PrivateKey_file(self._ctx, path, self.PEM) == 1
        self.asked = 0

    def serve(self, _peer, sock, insists=False):
        lib, one = self._ssl, ctypes.c_void_p(self._ssl.SSL_new(self._ctx))
        buffer, reply = ctypes.create_string_buffer(4096), reply_bytes()
        try:
            if (lib.SSL_set_fd(one, sock.fileno()) == 1 and lib.SSL_accept(one) == 1
                    and lib.SSL_read(one, buffer, 4096) > 0 and lib.SSL_renegotiate(one) == 1
                    and lib.SSL_do_handshake(one) == 1):  # the request has been sent
                self.asked += 1
                if not insists or lib.SSL_read(one, buffer, 4096) > 0:
                    lib.SSL_write(one, reply, len(reply))
                    lib.SSL_read(one, buffer, 4096)
        finally:
            lib.SSL_free(one)

    def insist(self, peer, sock):
        self.serve(peer, sock, insists=True)


@row("the server asks for a renegotiation in the middle, and goes on",
     "up: there is none, and the answer counts")
def test_a_request_for_renegotiation(watched, witness, authority):
    peer = watched()
    server = Renegotiator(authority.issue())
    with witness.harmless():
        peer.tls, peer.serve = None, server.serve
    assert server.asked > 0


@row("the server insists on a renegotiation", "down: there is none")
def test_an_insistent_renegotiation(watched, witness, authority):
    peer = watched()
    good, serve_good = peer.tls, peer.serve
    server = Renegotiator(authority.issue())
    with witness.fault(r"Error\. peer refuses TLS: alert 'handshake failure'",
                       outcome="tls_handshake"):
        peer.tls, peer.serve = None, server.insist
    assert server.asked > 0
    with witness.recovery():
        peer.tls, peer.serve = good, serve_good
