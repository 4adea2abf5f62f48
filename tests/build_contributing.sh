#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The worked example of CONTRIBUTING.md: its blocks that name a file are put
# into a copy of the tree (a file that is there already gets them at its end),
# and the new rule passes the conformance test and its own.
set -eu
cp -r "$SRC/src" "$SRC/include" "$SRC/tests" .
chmod -R u+w src tests
awk '/^```c [a-z]/ { file = $2; next } /^```$/ { file = ""; next } file != "" { print >> file }' \
  "$SRC/CONTRIBUTING.md"
cmp -s src/policy/policies.def "$SRC/src/policy/policies.def" && { echo "no line added"; exit 1; }
name=$(sed -n 's/^EX_POLICY(\(.*\))$/\1/p' src/policy/policies.def | tail -1)
[ -s "src/policy/policy_$name.c" ] && [ -s "tests/test_policy_$name.c" ]

# The rule and the register anew; all else from the library that was built.
export PKG_CONFIG_PATH=$BUILD
sanitize=$(sed -n 's/^SANITIZE:STRING=\(..*\)/-fsanitize=\1/p' "$BUILD/CMakeCache.txt")
cc=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$BUILD/CMakeCache.txt")
flags="-std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wpedantic -Werror $sanitize -Isrc -Iinclude -I."
libraries=$(pkg-config --static --libs exeunt cmocka | sed 's/-lexeunt//')
for test in "test_policy_$name" test_policy_conformance; do
  # shellcheck disable=SC2086 # lists of flags
  $cc $flags "tests/$test.c" "src/policy/policy_$name.c" src/policy/policy.c "$BUILD/libexeunt.a" \
    $libraries -lm -o "$test"
done
"./test_policy_$name"
./test_policy_conformance "${name//_/-}"

# The layers and the format of what a newcomer would copy.
"$SRC/tools/check-layers" . || exit 1
if command -v clang-format >/dev/null; then
  cp "$SRC/.clang-format" .
  clang-format --dry-run -Werror "src/policy/policy_$name.c" "tests/test_policy_$name.c"
fi
