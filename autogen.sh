#!/bin/sh
# Makes configure and runs it.
#
#     ./autogen.sh [--deps] [argument of configure ...]
#     ./autogen.sh --deps-only
#
# --deps first installs with apt-get what building and testing need and this machine lacks
# (Debian 12; as root or through sudo); --deps-only does no more than that. NOCONFIGURE=1 leaves
# configure to be run by hand.
set -eu

build_packages="gcc make autoconf automake pkg-config libc6-dev
    libcivetweb-dev libconfig-dev libuv1-dev libssl-dev libc-ares-dev libpcre2-dev
    libjansson-dev libnghttp2-dev"
test_packages="python3 python3-pytest python3-cryptography curl openssl haproxy nginx-light
    prometheus wrk clang libclang-rt-14-dev llvm clang-format cppcheck clang-tidy clang-tools valgrind
    spin gcovr xz-utils iproute2
    mandoc bash-completion
    redis-server memcached exim4-daemon-light dovecot-imapd dovecot-pop3d vsftpd openssh-server
    nats-server libzookeeper-java default-jre-headless
    monitoring-plugins-basic unbound chrony python3-grpcio
    postgresql mariadb-server rabbitmq-server mosquitto slapd php-fpm
    monit prometheus-blackbox-exporter nagios4-core icinga2-bin python3-yaml
    mmdebstrap lintian autopkgtest systemd strace rpm buildah"

as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "autogen.sh: --deps needs root or sudo to run: $*" >&2
        exit 1
    fi
}

is_provided()
{
    dpkg-query -W -f '${db:Status-Status} ${Provides},\n' | grep -q "^installed .*\\<$1\\>"
}

is_installed()
{
    case $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) in
    *" installed") return 0 ;;
    esac
    # Any nginx will do; a machine that has another flavour keeps it. Mail and file servers exclude
    # each other: one that is there stays, and the tests of ours are skipped.
    case $1 in
    nginx-light) [ -x /usr/sbin/nginx ] ;;
    exim4-daemon-light) is_provided mail-transport-agent ;;
    vsftpd) is_provided ftp-server ;;
    *) false ;;
    esac
}

install_missing()
{
    command -v apt-get >/dev/null || {
        echo "autogen.sh: --deps knows only apt-get; see the package list in this file" >&2
        exit 1
    }
    missing=
    for package in $build_packages $test_packages; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    echo "autogen.sh: installing$missing"

    # The servers among them are for tests only: installing must not start them.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing
}

cd "$(dirname "$0")"
if [ "${1-}" = --deps-only ]; then
    install_missing
    exit
fi
if [ "${1-}" = --deps ]; then
    shift
    (install_missing)
fi
autoreconf --install
if [ -z "${NOCONFIGURE-}" ]; then
    ./configure "$@"
fi
