"""The line protocols against the real servers, well and truthfully unwell."""
import grp
import os
import pwd
import subprocess
import threading

import pytest

from real import AS_ROOT, CONF, Servers, converse, fill, program

@pytest.fixture
def real(servers):
    """real(files, command, port, user): a server, in a folder with those files (None: a folder);
    "@" in texts and arguments is the folder. real.port(): a port for it."""
    made = []

    def start(files, command, port, user="nobody"):
        own = Servers()
        made.append(own)
        folder = str(own.own(user))
        for path, text in files.items():
            if text is None:
                own.make_folder(path)
            else:
                own.write(path, text.replace("@", folder))
        server = own.start([str(word).replace("@", folder) for word in command])
        server.port = port
        return server.wait_port(port)

    start.port = servers.port
    yield start
    for own in made:
        own.end()


@pytest.fixture
def ask(healthsvc):
    """ask(scheme, server or port, settings): a daemon that asks it."""
    def start(scheme, server, settings=""):
        url = f"{scheme}://127.0.0.1:{getattr(server, 'port', server)}"
        return healthsvc(CONF % (url, settings))
    return start


def up(svc):
    svc.wait_health("^200 .*it status: OK\n")


def down(svc, reason, **how):
    svc.wait_health(rf"^500 .*it status: Error\. {reason}", **how)


def down_while_full(svc, reason, port, *saying):
    """Down for that reason while the server has as many clients as it takes, and then up again."""
    held = []
    down(svc, reason, meanwhile=lambda: fill(held, port, *saying))
    for sock in held:
        sock.close()
    up(svc)


# Redis


@pytest.fixture
def redis(real):
    def start(*options, files=None, port=None):
        port = port or real.port()
        command = [program("redis-server"), "--bind", "127.0.0.1", "--port", port,
                   "--save", "", "--dir", "@", *options]
        return real(files or {}, command, port)
    return start


def redis_say(port, *commands):
    sock, came = converse(port, b"".join(c.encode() + b"\r\n" for c in commands),
                          b"(.*\r\n){%d}" % len(commands))
    sock.close()
    return came


def test_redis_is_up_and_down_when_it_is_full(redis, ask):
    server = redis("--maxclients", "4")
    svc = ask("redis", server)
    up(svc)
    down_while_full(svc, "ERR max number of clients reached",
                    server.port, rb"PONG", rb"max number", b"PING\r\n")
    server.stop()
    down(svc, "connection refused")


def test_redis_with_a_password(redis, ask, tmp_path):
    server = redis("--requirepass", "s e\"cret")
    for name, word in (("right", 's e"cret'), ("wrong", "secret")):
        (tmp_path / name).write_text(word + "\n")
    up(ask("redis", server))  # alive: it wants a password
    up(ask("redis", server, f'password_file = "{tmp_path}/right"; role = "master";'))
    down(ask("redis", server, f'password_file = "{tmp_path}/wrong";'), "WRONGPASS ")
    down(ask("redis", server, 'role = "master";'), "NOAUTH ")


def test_redis_that_loads_is_not_up_yet(redis, ask):
    server = redis()
    redis_say(server.port, *(f"SET key{i} {'x' * 3000}" for i in range(40)), "SAVE")
    server.stop()
    # 40 keys, each of which takes 100 ms to load.
    server.command += ["--key-load-delay", "100000", "--loading-process-events-interval-bytes",
                       "2048"]
    server.start().wait_port(server.port)
    svc = ask("redis", server)
    down(svc, "LOADING Redis is loading the dataset in memory")
    svc.wait_health("^200 .*it status: OK\n", 30)


def test_redis_that_is_busy_is_down(redis, ask):
    server = redis("--busy-reply-threshold", "50")
    svc = ask("redis", server)
    up(svc)
    busy = threading.Thread(target=redis_say, args=(server.port, 'EVAL "while true do end" 0'))
    busy.start()
    try:
        down(svc, "BUSY Redis is busy running a script")
    finally:
        redis_say(server.port, "SCRIPT KILL")
        busy.join()
    up(svc)


def test_redis_roles_and_a_lost_master(redis, ask):
    master = redis()
    replica = redis("--replicaof", f"127.0.0.1 {master.port}", "--repl-timeout", "5")
    asked = ask("redis", replica, 'role = "replica";')
    up(ask("redis", master, 'role = "master";'))
    asked.wait_health("^200 .*it status: OK\n", 20)
    down(ask("redis", master, 'role = "replica";'), "role is master, not replica")
    down(ask("redis", replica, 'role = "master";'), "role is replica, not master")
    master.stop()
    down(asked, "link to the master is down")
    up(ask("redis", replica))  # it still answers, from what it has
    redis_say(replica.port, "CONFIG SET replica-serve-stale-data no")
    down(ask("redis", replica), "MASTERDOWN Link with MASTER is down")


def test_rediss(redis, real, ask, authority):
    pem = authority.issue().read_text()
    port = real.port()
    server = redis("--port", "0", "--tls-port", port, "--tls-cert-file", "@/pem",
                   "--tls-key-file", "@/pem", "--tls-auth-clients", "no",
                   "--tls-ca-cert-file", "@/pem", files={"pem": pem}, port=port)
    svc = ask("rediss", server, f'ca_file = "{authority.ca_file}"; role = "master";')
    up(svc)
    down(ask("rediss", server), "certificate not trusted")
    down(ask("redis", server), "")


# memcached


def memcached(real, *options, files=None):
    port = real.port()
    return real(files or {}, [program("memcached"), "-l", "127.0.0.1",
                                           "-p", port, "-t", "1", *options], port)


def test_memcached_is_up_and_down_when_it_is_full(real, ask):
    server = memcached(real, "-c", "40")
    svc = ask("memcached", server)
    up(svc)
    down_while_full(svc, "ERROR Too many open connections",
                    server.port, rb"VERSION", rb"ERROR", b"version\r\n")


def test_memcached_that_wants_a_login_is_alive(real, ask):
    up(ask("memcached", memcached(real, "-Y", "@/users", files={"users": "user:password\n"})))


# SMTP

EXIM = """
log_file_path = @/exim-%%slog
spool_directory = @
pid_file_path = @/pid
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = %(ports)s
smtp_accept_max = 3
host_lookup =
rfc1413_query_timeout = 0s
%(more)s
acl_smtp_connect = accept
"""
EXIM_TLS = "tls_advertise_hosts = *\ntls_certificate = @/pem\ntls_privatekey = @/pem\n" \
           "tls_on_connect_ports = %d"


def exim(real, more="tls_advertise_hosts =", pem="", tls_port=None):
    user = "Debian-exim"
    binary = program("exim4-daemon-light", "exim4")
    if not AS_ROOT and pwd.getpwuid(os.geteuid()).pw_name != user:
        pytest.skip(f"needs root: only {user} may start exim4")
    port = real.port()
    ports = f"{port} : {tls_port}" if tls_port else port
    conf = EXIM % {"ports": ports, "more": more}
    return real({"conf": conf, "pem": pem}, [binary, "-bdf", "-C", "@/conf"], port,
                user=user)


def test_smtp_is_up_and_down_when_it_is_full(real, ask):
    server = exim(real)
    svc = ask("smtp", server)
    up(svc)
    down_while_full(svc, "421 Too many concurrent SMTP connections; please try again later",
                    server.port, rb"220 ", rb"421 ")
    down(ask("smtp", server, "starttls = true;"), "no STARTTLS: 503 ")


def test_smtp_starttls_and_smtps(real, ask, authority):
    tls_port = real.port()
    server = exim(real, EXIM_TLS % tls_port, authority.issue().read_text(), tls_port)
    trust = f'ca_file = "{authority.ca_file}";'
    up(ask("smtp", server, trust + "starttls = true;"))
    up(ask("smtps", tls_port, trust))
    down(ask("smtp", server, "starttls = true;"), "certificate not trusted")


# IMAP and POP3

DOVECOT = """
base_dir = @/run
state_dir = @/run
log_path = @/dovecot.log
protocols = imap pop3
listen = 127.0.0.1
default_internal_user = %(user)s
default_internal_group = %(group)s
default_login_user = %(user)s
ssl = yes
ssl_cert = <@/pem
ssl_key = <@/pem
service anvil {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    port = %(imap)d
  }
  inet_listener imaps {
    port = %(imaps)d
  }
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    port = %(pop3)d
  }
  inet_listener pop3s {
    port = %(pop3s)d
  }
}
passdb {
  driver = %(passdb)s
  args = %(args)s
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=@
}
"""


@pytest.fixture
def dovecot(real, authority):
    def start(passdb="static", args="nopassword"):
        binary = program("dovecot-imapd", "dovecot")
        for daemon in ("imap-login", "pop3-login"):
            if not os.path.exists(f"/usr/lib/dovecot/{daemon}"):
                pytest.skip(f"needs dovecot-{daemon.removesuffix('-login')}d")
        user = pwd.getpwnam("nobody") if AS_ROOT else pwd.getpwuid(os.geteuid())
        ports = {name: real.port() for name in ("imap", "imaps", "pop3", "pop3s")}
        conf = DOVECOT % {"user": user.pw_name, "group": grp.getgrgid(user.pw_gid).gr_name,
                          "passdb": passdb, "args": args, **ports}
        server = real({"conf": conf, "run": None, "pem": authority.issue().read_text()},
                      [binary, "-F", "-c", "@/conf"], ports["imap"])
        server.ports = ports
        return server
    return start


def test_imap_and_pop3_with_and_without_tls(dovecot, ask, authority):
    server = dovecot()
    trust = f'ca_file = "{authority.ca_file}";'
    for scheme in ("imap", "pop3"):
        up(ask(scheme, server.ports[scheme]))
        up(ask(scheme, server.ports[scheme], trust + "starttls = true;"))
        up(ask(scheme + "s", server.ports[scheme + "s"], trust))
        down(ask(scheme, server.ports[scheme], "starttls = true;"), "certificate not trusted")
    svc = ask("imap", server.ports["imap"])
    up(svc)
    server.stop()
    down(svc, "connection refused")


@pytest.mark.parametrize("scheme, reason", [
    ("imap", r"\* BYE Auth process broken"), ("pop3", "-ERR .*Auth process broken")])
def test_imap_and_pop3_whose_users_cannot_be_looked_up_are_down(dovecot, ask, scheme, reason):
    """Dovecot waits 2 s before it starts the failing process again, twice as long each time."""
    server = dovecot("sql", "@/missing")
    patient = 'period = "30s"; timeout = "25s"; confirm = "10s";'
    down(ask(scheme, server.ports[scheme], patient), reason, timeout=25)


# FTP

VSFTPD = """
listen=YES
listen_address=127.0.0.1
listen_port=%d
run_as_launching_user=YES
anonymous_enable=YES
anon_root=@/www
secure_chroot_dir=@/empty
max_clients=3
xferlog_enable=YES
vsftpd_log_file=@/vsftpd.log
%s
"""


def vsftpd(real, more="", pem=""):
    port = real.port()
    return real({"conf": VSFTPD % (port, more), "www": None, "empty": None, "pem": pem},
                [program("vsftpd"), "@/conf"], port)


def test_ftp_is_up_and_down_when_it_is_full(real, ask):
    server = vsftpd(real)
    svc = ask("ftp", server)
    up(svc)
    down_while_full(svc, "421 There are too many connected users, please try later",
                    server.port, rb"220 ", rb"421 ")
    down(ask("ftp", server, "starttls = true;"), "no STARTTLS: 530 ")


def test_ftp_with_tls(real, ask, authority):
    server = vsftpd(real, "ssl_enable=YES\nallow_anon_ssl=YES\nssl_tlsv1=YES\n"
                          "rsa_cert_file=@/pem\nrsa_private_key_file=@/pem",
                    authority.issue().read_text())
    up(ask("ftp", server, f'ca_file = "{authority.ca_file}"; starttls = true;'))


# SSH


def test_ssh_is_up_and_down_when_it_is_full(real, ask, tmp_path):
    binary = program("openssh-server", "sshd")
    key = tmp_path / "key"
    subprocess.run([program("openssh-client", "ssh-keygen"), "-q", "-t", "ed25519", "-N", "",
                    "-f", str(key)], check=True, timeout=30)
    port = real.port()
    conf = f"Port {port}\nListenAddress 127.0.0.1\nHostKey @/key\nPidFile none\nUsePAM no\n" \
           "MaxStartups 3\n"
    server = real({"conf": conf, "key": key.read_text()},
                  [binary, "-D", "-e", "-f", "@/conf"], port)
    svc = ask("ssh", server)
    up(svc)
    down_while_full(svc, "Exceeded MaxStartups",
                    server.port, rb"SSH-2.0-", rb"Exceeded MaxStartups")


# NATS


def nats(real, more, files=None):
    port = real.port()
    return real({"conf": f"listen: 127.0.0.1:{port}\n{more}\n", **(files or {})},
                [program("nats-server"), "-c", "@/conf"], port)


def test_nats_is_up_and_down_when_it_is_full(real, ask):
    server = nats(real, "max_connections: 3")
    svc = ask("nats", server)
    up(svc)
    down_while_full(svc, "'maximum connections exceeded'",
                    server.port, rb"PONG", rb"-ERR", b"CONNECT {}\r\nPING\r\n")


def test_nats_with_a_login(real, ask, tmp_path):
    server = nats(real, "authorization { user: health, password: secret }")
    for name, word in (("right", "secret"), ("wrong", "guess")):
        (tmp_path / name).write_text(word + "\n")
    up(ask("nats", server))  # alive: it wants a login
    up(ask("nats", server, f'user = "health"; password_file = "{tmp_path}/right";'))
    down(ask("nats", server, f'user = "health"; password_file = "{tmp_path}/wrong";'),
         "'Authorization Violation'")


def test_nats_with_tls(real, ask, authority):
    server = nats(real, 'tls { cert_file: "@/pem", key_file: "@/pem" }',
                  {"pem": authority.issue().read_text()})
    up(ask("nats", server, f'ca_file = "{authority.ca_file}"; starttls = true;'))
    down(ask("nats", server), "")


# ZooKeeper

ZOOKEEPER_JAR = "/usr/share/java/zookeeper.jar"


def zookeeper(real, more=""):
    java = program("default-jre-headless", "java")
    if not os.path.exists(ZOOKEEPER_JAR):
        pytest.skip("needs libzookeeper-java")
    port = real.port()
    conf = f"tickTime=2000\ninitLimit=5\nsyncLimit=2\ndataDir=@/data\nclientPort={port}\n" \
           f"clientPortAddress=127.0.0.1\nadmin.enableServer=false\n{more}"
    return real({"conf": conf, "data": None, "data/myid": "1\n"},
                [java, "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp",
                 ZOOKEEPER_JAR, "org.apache.zookeeper.server.quorum.QuorumPeerMain", "@/conf"],
                port)


def test_zookeeper_is_up_alone_and_down_without_its_quorum(real, ask):
    up(ask("zookeeper", zookeeper(real)))
    ensemble = "".join(f"server.{i}=127.0.0.1:{real.port()}:{real.port()}\n" for i in (1, 2, 3))
    down(ask("zookeeper", zookeeper(real, ensemble)),
         "This ZooKeeper instance is not currently serving requests")
