"""When a result is believed, and what it makes of the whole."""
import pytest

from waiting import SCALE, wait_for

CONF = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "%(period)s"; timeout = "%(timeout)s"; confirm = "100ms"; };
dependencies = ( %(dependencies)s );
"""


def conf(*dependencies, period="300ms", timeout="200ms"):
    return CONF % {"dependencies": ",\n".join(dependencies), "period": period,
                   "timeout": timeout}


def dependency(name, peer, more=""):
    return f'{{ name = "{name}"; url = "{peer.url()}"; {more} }}'


def test_before_the_first_round_nothing_is_ok(healthsvc, peers):
    hung = peers.hung()
    svc = healthsvc(conf(dependency("trips", hung), period="60s", timeout="50s"))
    status, body = svc.health()
    assert (status, body) == (500, "gateway status: Error\n"
                                   "Dependencies:\n"
                                   "trips status: Error. not checked yet\n")
    ready = svc.get("/readyz")
    assert ready.status == 500
    assert "[-]trips failed: not checked yet\n" in ready.body
    assert ready.body.endswith("readyz check failed\n")
    assert svc.get("/livez").status == 200


def test_readyz_lists_when_asked(healthsvc, peers):
    svc = healthsvc(conf(dependency("trips", peers.http())))
    svc.wait_health("^200 ", path="/readyz")
    assert svc.get("/readyz").body == "ok"
    assert svc.get("/readyz?verbose").body == "[+]trips ok\nreadyz check passed\n"


@pytest.mark.parametrize("importance, status, word, suffix", [
    ("required", 500, "Error", ""),
    ("optional", 200, "Warning", " (optional)"),
    ("info", 200, "OK", " (info)"),
])
def test_importance_decides_what_down_means(healthsvc, peers, importance, status, word, suffix):
    svc = healthsvc(conf(dependency("trips", peers.http()),
                         dependency("broker", peers.refused(), f'importance = "{importance}";')))
    answer = svc.wait_health("trips status: OK\nbroker status: Error. connection refused")
    assert answer.status == status
    assert answer.body == (f"gateway status: {word}\n"
                           "Dependencies:\n"
                           "trips status: OK\n"
                           f"broker status: Error. connection refused{suffix}\n")


def test_any_unhealthy_status_has_a_phrase(healthsvc, peers):
    svc = healthsvc("unhealthy_status = 599;" + conf(dependency("trips", peers.refused())))
    svc.wait_health("^599 .*trips status: Error. connection refused")
    assert svc.raw(b"GET /health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 599 Unhealthy\r\n")


def test_unhealthy_status_is_a_setting(healthsvc, peers):
    svc = healthsvc("unhealthy_status = 503;" + conf(dependency("trips", peers.refused())))
    svc.wait_health("^503 .*connection refused")
    for path in ("/health", "/health/trips", "/readyz"):
        assert svc.get(path).status == 503, path


def test_fall_and_rise_count_results_in_a_row(healthsvc, peers):
    """The peer answers when the test says so. A new request tells that the reply before it has
    been judged, because a dependency is asked once at a time."""
    peer = peers.gated()
    svc = healthsvc(conf(dependency("trips", peer, "fall = 3; rise = 2;"),
                         period=f"{SCALE}s", timeout=f"{900 * SCALE}ms"))
    seen = []
    wait_for(lambda: peer.requests)
    for count, status in enumerate((200, 503, 503, 200, 503, 503, 503, 200, 503, 200, 200), 1):
        peer.replies.put(status)
        wait_for(lambda: len(peer.requests) > count, what="the next check")
        seen.append(svc.health()[0])
    #               200  503  503  200  503  503  503  200  503  200  200
    assert seen == [200, 200, 200, 200, 200, 200, 500, 500, 500, 500, 200]


def test_a_change_is_confirmed_faster_than_the_period(healthsvc, peers):
    peer = peers.http()
    svc = healthsvc(conf(dependency("trips", peer, "fall = 3;"), period="3s", timeout="1s"))
    svc.wait_health("^200 ")
    good = len(peer.times)
    peer.status = 503
    svc.wait_health("^500 .*HTTP 503")
    first, second, third = peer.times[good:good + 3]
    assert second - first < 1.5 and third - second < 1.5
    assert second - first > 0.09 and third - second > 0.09


def test_a_dependency_is_asked_at_its_period(healthsvc, peers):
    peer = peers.http()
    # Confirming no faster: a reply that a busy machine held up must not bring one check more.
    svc = healthsvc(conf(dependency("trips", peer, 'confirm = "250ms";'), period="250ms",
                         timeout="200ms"))
    svc.wait_health("^200 ")
    wait_for(lambda: len(peer.times) >= 10)
    # Eight slots after the second check; one is given away for a busy machine's jitter.
    assert peer.times[9] - peer.times[1] > 7 * 0.25


def test_a_hundred_dependencies_in_the_first_second(healthsvc, peers):
    """All are asked at once, whatever their period."""
    peer = peers.http()
    svc = healthsvc(conf(*(dependency(f"d{i}", peer) for i in range(100)), period="60s",
                         timeout="10s"))
    svc.wait_health("^200 ", path="/readyz")
    assert peer.times[99] - peer.times[0] < 1.5 * SCALE
    assert svc.health()[1].count("status: OK\n") == 101
