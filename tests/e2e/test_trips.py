"""The original story: trips, airports, and the gateway that depends on both."""

PLAIN = 'name = "%s"; listen = "127.0.0.1:%d";'

GATEWAY = """
name = "gateway";
listen = "127.0.0.1:0";
defaults = { period = "500ms"; timeout = "300ms"; confirm = "100ms"; };
dependencies = (
  { name = "trips";    url = "%s/health"; },
  { name = "airports"; url = "%s/health"; }
);
"""


def test_gateway_names_the_culprit_and_recovers(healthsvc):
    trips = healthsvc(PLAIN % ("trips", 0))
    airports = healthsvc(PLAIN % ("airports", 0))
    for leaf in (trips, airports):
        answer = leaf.get("/health")
        assert (answer.status, answer.body) == (200, "Up and running\n")
    gateway = healthsvc(GATEWAY % (trips.url, airports.url))

    good = gateway.wait_health("^200 ")
    assert good.body == ("gateway status: OK\n"
                         "Dependencies:\n"
                         "trips status: OK\n"
                         "airports status: OK\n")

    assert airports.stop() == 0
    bad = gateway.wait_health("^500 ")
    assert bad.body == ("gateway status: Error\n"
                        "Dependencies:\n"
                        "trips status: OK\n"
                        "airports status: Error. connection refused\n")
    alone = gateway.get("/health/airports")
    assert (alone.status, alone.body) == (500, "airports status: Error. connection refused\n")
    assert gateway.get("/health/trips").body == "trips status: OK\n"
    assert gateway.get("/livez").status == 200

    healthsvc(PLAIN % ("airports", airports.port))
    assert gateway.wait_health("^200 ").body == good.body


def test_a_chain_of_services_fails_from_end_to_end(healthsvc, peers):
    """A failing healthsvc is itself a failing dependency: its own status code says so."""
    database = peers.http()
    inner = healthsvc(GATEWAY.replace("gateway", "inner") % (database.url(), database.url()))
    inner.wait_health("^200 ")
    outer = healthsvc(GATEWAY.replace("gateway", "outer") % (inner.url, inner.url))
    outer.wait_health("^200 ")
    database.close()
    refused = "Error. HTTP 500: trips: connection refused; airports: connection refused\n"
    outer.wait_health(f"^500 .*trips status: {refused}airports status: {refused}")
    database.open()
    outer.wait_health("^200 ")
