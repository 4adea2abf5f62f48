#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/check-layers passes on the tree, and fails on each kind of violation.
set -u
failed=0
"$SRC/tools/check-layers" || failed=1

spdx='/* SPDX-License-Identifier: Apache-2.0 */'
plant() { # FILE PATTERN LINE...: the file in a fresh tree must be refused with PATTERN
  local file=$1 pattern=$2
  shift 2
  rm -rf tree
  mkdir -p tree/src/base "tree/$(dirname "$file")"
  echo "$spdx" >tree/src/base/text.h
  printf '%s\n' "$@" >"tree/$file"
  if output=$("$SRC/tools/check-layers" tree) || ! grep -qE "^$file:[0-9]+: .*$pattern" <<<"$output"; then
    echo "not caught in $file: $pattern (output: $output)"
    failed=1
  fi
}
plant src/base/up.c 'net/ lies above' "$spdx" '#include "net/net.h"'
plant src/policy/policy_x.c 'neither files nor clocks' "$spdx" '#include "base/clock.h"'
plant src/method/method_x.c 'see each other never' "$spdx" '#include "policy/policy.h"'
plant src/net/net_x.c 'includes oneDNN' "$spdx" '#include <dnnl.h>'
plant src/net/text.h 'also that of' "$spdx"
plant src/net/net_x.c 'SPDX' 'int x;'
plant src/net/net_x.c 'the rule is' "$spdx" '#include "other.h"'
plant src/attic/old.c 'order of folders' "$spdx"

rm -rf tree && mkdir -p tree/src/net tree/src/base tree/src/graph
printf '%s\n' "$spdx" '#include "base/text.h"' >tree/src/net/net_ok.c
printf '%s\n' "$spdx" '#include <dnnl.h>' >tree/src/graph/onednn.c
"$SRC/tools/check-layers" tree || { echo "a good tree was refused"; failed=1; }
exit $failed
