"""Asks URLs without rest, each time on a new connection, until it is told to stop (SIGTERM).

    client.py URL...

Prints a line once it has had a hundred answers, and in the end how many requests there were and how
many of them failed, with the first fault: anything that is not a whole answer of 200, but for one that
says that the daemon is shutting down, as /health does from the signal to the end.
"""
import http.client
import signal
import sys
import threading
import time
import urllib.error
import urllib.request

THREADS_EACH = 2
FIRST = 100


class Client:
    def __init__(self):
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.answers = self.failures = 0
        self.first_fault = None
        self.longest_s = 0.0

    def ask(self, url):
        began = time.monotonic()
        fault = fault_of(url)
        with self.lock:
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.answers += 1
            if fault is not None:
                self.failures += 1
                self.first_fault = self.first_fault or fault
            if self.answers == FIRST:
                print("under way", flush=True)

    def run(self, url):
        while not self.stop.is_set():
            self.ask(url)


def fault_of(url):
    """None, or what is wrong with the answer."""
    try:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                body = answer.read()
                status = answer.status
        except urllib.error.HTTPError as answer:
            body = answer.read()
            status = answer.code
    except (OSError, http.client.HTTPException) as error:
        return f"{url}: {error!r}"
    if status == 200 or b"shutting down" in body.partition(b"\n")[0]:
        return None
    return f"{url}: {status} {body!r}"


def main():
    client = Client()
    signal.signal(signal.SIGTERM, lambda *_: client.stop.set())
    threads = []
    for url in sys.argv[1:]:
        threads += [threading.Thread(target=client.run, args=(url,)) for _ in range(THREADS_EACH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{client.answers} requests, {client.failures} failed, the longest "
          f"{client.longest_s * 1000:.0f} ms {client.first_fault or ''}")
    return 1 if client.failures or client.answers < FIRST else 0


if __name__ == "__main__":
    sys.exit(main())
