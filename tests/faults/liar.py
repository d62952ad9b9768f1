"""A name server that lies, and what is asked by a name of its."""
import threading

import pytest

import dns

HOST = "trips.test"
KEPT_S = 5.0  # how long any answer holds, whatever its TTL says; not stretched by SCALE
QUERY_S = 2.4  # the longest that one look-up takes, with its second try; neither


class Liar(dns.NameServer):
    """`lie(reply)` makes of each true answer what is sent in its place, from `mouth` if that is not
    None; `delay_s` is how long it takes; `by_tcp` is what becomes of answers by TCP."""
    lie = by_tcp = staticmethod(lambda reply: reply)
    mouth = None
    delay_s = 0

    def deliver(self, sock, reply, source):
        reply = self.lie(reply)
        if self.delay_s:
            threading.Timer(self.delay_s, sock.sendto, (reply, source)).start()
        elif reply is not None:
            (self.mouth or sock).sendto(reply, source)

    def answer_tcp(self, query):
        return self.by_tcp(self.answer(query))


@pytest.fixture
def name_server():
    server = Liar()
    yield server
    server.close()


@pytest.fixture
def named(peers, name_server, witness):
    """A peer that is asked by name."""
    def watch(answer=("127.0.0.1",), **how):
        peer = peers.http()
        name_server.zone[HOST] = answer if isinstance(answer, (int, dict)) else list(answer)
        witness.watch(peer.url(host=HOST), head=f'nameservers = "{name_server.address}";', **how)
        return peer
    return watch
