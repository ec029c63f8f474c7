#!/bin/sh
# Installs what tests start and stop by themselves: PostgreSQL, PgBouncer, and
# Chromium with fonts for the console's languages. None is started here, and no
# cluster is made.
set -eu

has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
postgres() { ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || has initdb; }
font() { ls /usr/share/fonts/*/*/"$1"* >/dev/null 2>&1; }

wanted=
postgres || wanted="$wanted postgresql"
has pgbouncer || wanted="$wanted pgbouncer"
has chromium || wanted="$wanted chromium"
font NotoSans- || wanted="$wanted fonts-noto-core"
font NotoSansCJK || wanted="$wanted fonts-noto-cjk"
[ -n "$wanted" ] || exit 0

if [ "$(id -u)" != 0 ] || ! has apt-get; then
	echo "tests need these programs, which only root on Debian gets from here; install them yourself:$wanted" >&2
	exit 1
fi

# Packages of services start them, and PostgreSQL's makes a cluster first.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
fi
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086 # a list of words
apt-get install -q -y --no-install-recommends $wanted
