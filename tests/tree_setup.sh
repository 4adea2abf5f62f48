#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/setup says what it will install, installs only what is missing, uses
# sudo where it is not root, and renews apt's lists where they lack a package.
# apt-get, sudo and the rest are stand-ins that write down how they were called.
set -u
failed=0
mkdir bin
stand_in() { # NAME BODY
  printf '#!/bin/sh\n%s\n' "$2" >"bin/$1"
  chmod +x "bin/$1"
}
stand_in dpkg-query 'for p; do :; done
grep -qx "$p" missing && exit 1
echo "install ok installed"'
stand_in apt-cache 'test -e lists'
stand_in apt-get 'echo "$USER_IS apt-get $*" >>calls
case $1 in update) touch lists ;; install) test -e lists ;; esac'
stand_in sudo 'shift; USER_IS=sudo "$@"'
stand_in id 'cat uid'
here=$PWD
mkdir -p tree/tools && cp "$SRC/tools/setup" tree/tools/
# setup goes to the top of its tree; the stand-ins' files lie there.
setup() { (cd tree && rm -f calls && PATH=$here/bin:$PATH USER_IS=root tools/setup "$@" >../out 2>&1); }
expect() { # WHAT FILE LINE
  grep -qxF -- "$3" "$2" || { echo "$1: no line \"$3\" in:"; cat "$2"; failed=1; }
}

cd "$here" && : >tree/missing && echo 0 >tree/uid
setup || failed=1
expect "nothing missing" out "setup: nothing to install"
[ ! -e tree/calls ] || { echo "apt-get was called for nothing"; failed=1; }

printf 'libdnnl-dev\nlibcmocka-dev\n' >tree/missing
setup || failed=1
expect "says what it installs" out "setup: installing with apt-get: libdnnl-dev libcmocka-dev"
expect "old lists" tree/calls "root apt-get update"
expect "as root" tree/calls "root apt-get install -y --no-install-recommends libdnnl-dev libcmocka-dev"

echo 1000 >tree/uid
setup || failed=1
expect "not root" tree/calls "sudo apt-get install -y --no-install-recommends libdnnl-dev libcmocka-dev"
grep -q update tree/calls && { echo "lists were renewed without need"; failed=1; }

setup nonsense
[ $? -eq 2 ] || { echo "an unknown word was accepted"; failed=1; }
exit $failed
