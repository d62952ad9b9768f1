"""The fault matrix: the network between the daemon and what it asks."""
from matrix import row


@row("connection refused", "down as soon as `fall` says, with that reason")
def test_connection_refused(peers, witness):
    peer = peers.http()
    witness.watch(peer.url())
    with witness.fault("Error. connection refused", outcome="connect_refused"):
        peer.close()
    with witness.recovery():
        peer.open()
