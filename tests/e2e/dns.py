"""A small name server: A and AAAA from a table that a test may change while it serves.

    name_server.zone["trips.test"] = ["127.0.0.1"]
    name_server.zone["gone.test"] = dns.NXDOMAIN

Names that are not in the table do not exist. RFC 1035 section 4.
"""
import ipaddress
import socket
import struct
import threading

SERVFAIL, NXDOMAIN, SILENT = 2, 3, -1
TYPE_A, TYPE_AAAA = 1, 28


class NameServer:
    def __init__(self, ttl=1, address=("127.0.0.1", 0)):
        self.zone = {}
        self.ttl = ttl
        self.queries = []
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(address)
        self.port = self._sock.getsockname()[1]
        self.address = f"{address[0]}:{self.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        sock, self._sock = self._sock, None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread, though it reports ENOTCONN
            except OSError:
                pass
            sock.close()

    def asked(self, name):
        """How many queries for that name have come."""
        return self.queries.count(name)

    def _serve(self):
        sock = self._sock
        while True:
            try:
                query, source = sock.recvfrom(4096)
                if not query:  # shut down
                    return
                reply = self._answer(query)
                if reply is not None:
                    sock.sendto(reply, source)
            except OSError:
                return

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question = query[12:at + 5]
        kind, = struct.unpack("!H", query[at + 1:at + 3])
        name = ".".join(labels)
        self.queries.append(name)
        found = self.zone.get(name, NXDOMAIN)
        if found == SILENT:
            return None
        code, records = (found, []) if isinstance(found, int) else (0, found)
        addresses = [ipaddress.ip_address(text) for text in records]
        wanted = [a.packed for a in addresses
                  if kind == (TYPE_A if a.version == 4 else TYPE_AAAA)]
        # Answer, recursion desired and available; then one question, the records, nothing more.
        reply = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(wanted), 0, 0) + question
        for packed in wanted:  # 0xc00c: the name at offset 12, the question's
            reply += struct.pack("!HHHIH", 0xC00C, kind, 1, self.ttl, len(packed)) + packed
        return reply
