"""MongoDB, Kafka and Cassandra, which Debian does not have: fakes that take the request apart as their
documentation has it, and answer in its bytes."""
import struct

import pytest

import peers as peers_module
from real import CONF


def exactly(sock, count):
    received = b""
    while len(received) < count:
        piece = sock.recv(count - len(received))
        if not piece:
            raise OSError("closed")
        received += piece
    return received


def bson(*elements):
    """A document of (type, name, value's bytes)."""
    body = b"".join(bytes([kind]) + name.encode() + b"\0" + value for kind, name, value in elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def yes(name, value=True):
    return 0x08, name, b"\1" if value else b"\0"


OK = 0x01, "ok", struct.pack("<d", 1.0)
HELLO = bson((0x10, "hello", struct.pack("<i", 1)), (0x02, "$db", b"\6\0\0\0admin\0"))


class Fakes:
    def __init__(self):
        self.answer = None
        self.faults = []
        self._peers = []

    def start(self, scheme):
        def serve(peer, sock):
            try:
                getattr(self, scheme)(sock)
            except AssertionError as fault:
                self.faults.append(fault)
            # A goodbye, not a reset: recv() would raise.
            assert sock.recv(100) == b""
        self._peers.append(peers_module.Peer(serve))
        return self._peers[-1].url("", scheme)

    def mongodb(self, sock):
        length, request, response_to, opcode = struct.unpack("<iiii", exactly(sock, 16))
        body = exactly(sock, length - 16)
        assert (response_to, opcode) == (0, 2013)
        assert body == struct.pack("<I", 0) + b"\0" + HELLO
        body = struct.pack("<I", 0) + b"\0" + self.answer
        sock.sendall(struct.pack("<iiii", len(body) + 16, 77, request, 2013) + body)

    def kafka(self, sock):
        length, = struct.unpack(">i", exactly(sock, 4))
        body = exactly(sock, length)
        key, version, correlation, name = struct.unpack(">hhih", body[:10])
        assert (key, version, name, body[10:]) == (18, 0, 9, b"healthsvc")
        body = struct.pack(">i", correlation) + self.answer
        sock.sendall(struct.pack(">i", len(body)) + body)

    def cassandra(self, sock):
        version, flags, stream, opcode, length = struct.unpack(">BBhBi", exactly(sock, 9))
        assert (version, flags, opcode, length) == (4, 0, 5, 0)
        opcode, body = self.answer
        sock.sendall(struct.pack(">BBhBi", 0x84, 0, stream, opcode, len(body)) + body)

    def close(self):
        for peer in self._peers:
            peer.close()
        assert self.faults == []


@pytest.fixture
def fakes():
    made = Fakes()
    yield made
    made.close()


def kafka_versions(*keys):
    return struct.pack(">hi", 0, len(keys)) + b"".join(struct.pack(">hhh", key, 0, 9)
                                                       for key in keys)


def cassandra_error(code, text):
    return 0, struct.pack(">ih", code, len(text)) + text.encode()


@pytest.mark.parametrize("scheme, good, bad, reason", [
    ("mongodb", bson(yes("isWritablePrimary"), OK),
     bson(yes("isWritablePrimary", False), yes("secondary", False), OK),
     "neither primary nor secondary"),
    ("mongodb", bson(yes("secondary"), (0x02, "setName", b"\4\0\0\0rs0\0"), OK),
     bson((0x01, "ok", bytes(8)), (0x02, "errmsg", b"\x0e\0\0\0shutting down\0")),
     "hello refused: shutting down"),
    ("kafka", kafka_versions(*range(61)), struct.pack(">hi", 58, 0),
     "the broker answers with error 58"),
    ("kafka", struct.pack(">hi", 35, 0), struct.pack(">hi", 0, 7), "not an answer of Kafka"),
    ("cassandra", (6, b"\0\1\0\x0bCQL_VERSION\0\1\0\x053.4.6"),
     cassandra_error(0x1002, "not yet"), "bootstrapping: not yet"),
    ("cassandra", cassandra_error(0x0a, "v5 only"), cassandra_error(0x1001, "too much"),
     "overloaded: too much"),
])
def test_an_answer_is_understood(fakes, healthsvc, scheme, good, bad, reason):
    fakes.answer = good
    svc = healthsvc(CONF % (fakes.start(scheme), ""))
    svc.wait_health("^200 .*it status: OK")
    fakes.answer = bad
    svc.wait_health(f"^500 .*it status: Error. {reason}", 20)
    fakes.answer = good
    svc.wait_health("^200 .*it status: OK", 20)
