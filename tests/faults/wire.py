"""A network of the test's own, with one long wire in it that the test can break.

    def test_it(network, far, witness):
        peer = far.http()                       # listens at the end of the wire
        witness.watch(peer.url())
        network.fault = wire.lost(0.3)

The namespace has loopback and a TUN device. What is sent to FAR through that is read here, and comes
back to NEAR as if FAR had sent it: source and destination change places, which leaves every checksum
right. So a peer that listens on NEAR is met at FAR, in both directions by way of this file, and what
`fault` makes of a packet is what the network makes of it. Nothing but /dev/net/tun and ip(8) is
needed, and root; it works even where the kernel has no netem.
"""
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time

NEAR, FAR, ROUTER = "10.77.0.1", "10.77.0.2", "10.77.0.3"
NEAR6, FAR6 = "2001:db8:77::1", "2001:db8:77::2"
DEVICE = "wire0"

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def ip(words):
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {words}: {done.stderr}"


def _libc(call, *args):
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*args) != 0:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


# ---- what may become of a packet: a list of (seconds of delay, packet) ----

def whole(packet):
    return [(0, packet)]


def lost(share=1.0, seed=77):
    """That share of all packets is lost, at random but the same each time."""
    chance = random.Random(seed)
    return lambda packet: [] if chance.random() < share else [(0, packet)]


def delayed(seconds):
    return lambda packet: [(seconds, packet)]


def doubled(packet):
    return [(0, packet), (0, packet)]


def shuffled(most_s, seed=77):
    """Each is late by chance, and so overtaken."""
    chance = random.Random(seed)
    return lambda packet: [(chance.random() * most_s, packet)]


def black_hole(longest):
    """Longer ones vanish, and nobody says a word: path MTU discovery that is filtered out."""
    return lambda packet: [] if len(packet) > longest else [(0, packet)]


def unreachable(code):
    """A router says so: ICMP, type 3 (RFC 792)."""
    def answer(packet):
        icmp = struct.pack("!BBHI", 3, code, 0, 0) + packet[:28]
        icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 0, 0, 64, 1, 0)
        head += bytes(map(int, ROUTER.split("."))) + packet[12:16]
        return [(0, swapped(head[:10] + struct.pack("!H", checksum(head)) + head[12:] + icmp))]
    return answer


def only(which, fault):
    """The fault for those packets; the others pass."""
    return lambda packet: fault(packet) if which(packet) else [(0, packet)]


def is_ipv6(packet):
    return packet[0] >> 4 == 6


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def swapped(packet):
    if is_ipv6(packet):
        return packet[:8] + packet[24:40] + packet[8:24] + packet[40:]
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


class Network:
    """The calling thread is in it until close(), and so is what it starts. `fault` is what becomes
    of a packet; `passed` and `lost` count what became of those that were sent."""

    def __init__(self):
        self.fault = whole
        self.passed = self.lost = 0
        self._before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._closing = threading.Event()
        _libc("unshare", CLONE_NEWNET)
        try:
            self._tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.ioctl(self._tun, TUNSETIFF,
                        struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
            ip("link set lo up")
            self.up()
        except BaseException:
            self._leave()
            raise
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def up(self):
        """As it is at first, whatever has been done to it by ip()."""
        ip(f"link set {DEVICE} up")
        ip(f"addr replace {NEAR}/24 dev {DEVICE}")
        ip(f"addr replace {NEAR6}/64 dev {DEVICE} nodad")

    def close(self):
        self._closing.set()
        self._thread.join()
        os.close(self._tun)
        self._leave()

    def _leave(self):
        _libc("setns", self._before, CLONE_NEWNET)
        os.close(self._before)

    def _run(self):
        late = []  # (due, order, packet)
        order = itertools.count()
        while not self._closing.is_set():
            due = late[0][0] - time.monotonic() if late else 0.05
            if select.select([self._tun], [], [], min(max(due, 0), 0.05))[0]:
                try:
                    packet = os.read(self._tun, 65536)
                except BlockingIOError:
                    continue
                becomes = self.fault(packet)
                self.passed, self.lost = self.passed + bool(becomes), self.lost + (not becomes)
                for delay, passed in becomes:
                    heapq.heappush(late, (time.monotonic() + delay, next(order), passed))
            while late and late[0][0] <= time.monotonic():
                try:
                    os.write(self._tun, swapped(heapq.heappop(late)[2]))
                except OSError:
                    self.lost += 1  # the device is down
