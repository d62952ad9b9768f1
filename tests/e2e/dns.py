"""A small name server: A and AAAA from a table that a test may change while it serves.

    name_server.zone["trips.test"] = ["127.0.0.1"]
    name_server.zone["gone.test"] = dns.NXDOMAIN
    name_server.zone["half.test"] = {dns.TYPE_A: ["127.0.0.1"], dns.TYPE_AAAA: dns.SILENT}

Names that are not in the table do not exist. It answers by UDP, and by TCP on the same port.
RFC 1035 section 4.
"""
import functools
import ipaddress
import socket
import struct
import threading

SERVFAIL, NXDOMAIN, REFUSED, SILENT = 2, 3, 5, -1
TYPE_A, TYPE_AAAA = 1, 28


_address = functools.lru_cache(ipaddress.ip_address)


def _bind_both(address):
    """A UDP and a TCP socket on the same port."""
    while True:
        tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp.bind(address)
        try:
            udp.bind(tcp.getsockname())
            return udp, tcp
        except OSError:  # somebody else's
            udp.close()
            tcp.close()


class NameServer:
    def __init__(self, ttl=1, address=("127.0.0.1", 0)):
        self.zone = {}
        self.ttl = ttl
        self.queries = []
        self._udp, self._tcp = _bind_both(address)
        self._tcp.listen(16)
        self.port = self._udp.getsockname()[1]
        self.address = f"{address[0]}:{self.port}"
        for serve, sock in ((self._serve_udp, self._udp), (self._serve_tcp, self._tcp)):
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    def close(self):
        for sock in (self._udp, self._tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread, though UDP reports ENOTCONN
            except OSError:
                pass
            sock.close()

    def asked(self, name):
        """How many queries for that name have come."""
        return self.queries.count(name)

    def deliver(self, sock, reply, source):
        """Sends an answer by UDP; for those that do it otherwise."""
        sock.sendto(reply, source)

    def answer_tcp(self, query):
        return self.answer(query)

    def _serve_udp(self, sock):
        while True:
            try:
                query, source = sock.recvfrom(4096)
                if not query:  # shut down
                    return
                reply = self.answer(query)
                if reply is not None:
                    self.deliver(sock, reply, source)
            except OSError:
                return

    def _serve_tcp(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock):
        """RFC 1035 section 4.2.2: each message after its length."""
        with sock, sock.makefile("rb") as stream:
            try:
                while len(head := stream.read(2)) == 2:
                    reply = self.answer_tcp(stream.read(int.from_bytes(head, "big")))
                    if reply is not None:
                        sock.sendall(struct.pack("!H", len(reply)) + reply)
            except OSError:
                pass

    def answer(self, query):
        """What the table says; None: nothing."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question = query[12:at + 5]
        kind, = struct.unpack("!H", query[at + 1:at + 3])
        name = ".".join(labels)
        self.queries.append(name)
        found = self.zone.get(name, NXDOMAIN)
        if isinstance(found, dict):
            found = found.get(kind, [])
        if found == SILENT:
            return None
        code, records = (found, []) if isinstance(found, int) else (0, found)
        addresses = [_address(text) for text in records]
        wanted = [a.packed for a in addresses
                  if kind == (TYPE_A if a.version == 4 else TYPE_AAAA)]
        # Answer, recursion desired and available; then one question, the records, nothing more.
        head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(wanted), 0, 0) + question
        # 0xc00c: the name at offset 12, the question's
        return head + b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, self.ttl, len(packed)) + packed
                               for packed in wanted)
