#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# setup.sh PACKAGE... - make sure that Debian packages are installed: as root by
# installing what is missing, otherwise by saying how, with status 1.
set -eu
export LC_ALL=C

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "The packages that this needs are Debian's, and there is no dpkg or apt-get here: $*" >&2
	exit 1
fi
known=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
missing=
for p in "$@"; do
	case "
$known
" in
	*"
installed $p
"*) ;;
	*) missing="$missing $p" ;;
	esac
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" != 0 ]; then
	printf 'These Debian packages are missing. Install them and try again:\n\n    sudo %s\n\n' \
		"$install" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "+ $install"
# shellcheck disable=SC2086
if ! apt-cache show --no-all-versions $missing >/dev/null 2>&1 || ! $install; then
	apt-get update
	$install
fi
