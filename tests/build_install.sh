#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make install DESTDIR=…` gives a library that a stranger can link with
# pkg-config alone, shared and static, and that shows only its public symbols.
set -eu
root=$PWD/root
prefix=$(sed -n 's/^CMAKE_INSTALL_PREFIX:PATH=//p' "$BUILD/CMakeCache.txt")
DESTDIR=$root cmake --install "$BUILD" >install.log
libdir=$(dirname "$(find "$root" -name libexeunt.so)")

# Public symbols are ex_name; ex__name is internal and must be hidden.
nm -D --defined-only "$libdir/libexeunt.so" | awk '{print $3}' >symbols
grep -q '^ex_status_text$' symbols
if grep -vE '^ex_[a-z0-9]' symbols; then
  echo "libexeunt.so shows symbols that are not public"
  exit 1
fi

# Until 1.0 every minor version may change the ABI: libexeunt.so.MAJOR.MINOR.
minor=$(sed -n 's/^#define EX_VERSION_M[AI][JN]OR \([0-9]*\)$/\1/p' "$SRC/include/exeunt.h" | paste -sd.)
readelf -d "$libdir/libexeunt.so" | grep -qF "soname: [libexeunt.so.$minor]"
"$(find "$root" -path '*/bin/exeunt')" --help >/dev/null

cat >stranger.c <<'END'
#include <exeunt.h>
#include <stdio.h>
int main(void) {
  printf("%d.%d.%d %s\n", EX_VERSION_MAJOR, EX_VERSION_MINOR, EX_VERSION_PATCH,
         ex_status_text(EX_OK));
  return 0;
}
END
# With prefix /usr, pkg-config would leave out -I and -L of the system's folders.
export PKG_CONFIG_PATH=$libdir/pkgconfig
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
version=$(pkg-config --modversion exeunt)
# The file names the prefix; what DESTDIR put before it is said to the compiler.
# A sanitized library needs its run time in the program too.
sanitize=$(sed -n 's/^SANITIZE:STRING=\(..*\)/-fsanitize=\1/p' "$BUILD/CMakeCache.txt")
here() { sed "s| *\(-[IL]\)$prefix/| \1$root$prefix/|g" <<<" $*"; }
cc=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$BUILD/CMakeCache.txt")
flags="-std=c11 -Wall -Wextra -Wpedantic -Werror $sanitize"
# shellcheck disable=SC2046,SC2086 # lists of flags
{
  $cc $flags stranger.c -o shared $(here $(pkg-config --cflags --libs exeunt))
  [ "$(LD_LIBRARY_PATH=$libdir ./shared)" = "$version ok" ]
  LD_LIBRARY_PATH=$libdir ldd shared | grep -q "$libdir/libexeunt.so"

  # The whole archive, so that each of its needs must be named in the file.
  mkdir static_only && cp "$libdir/libexeunt.a" static_only
  $cc $flags stranger.c -o static -Lstatic_only \
    $(here $(pkg-config --static --cflags --libs exeunt) |
      sed "s|-L$libdir||g; s|-lexeunt|-Wl,--whole-archive -lexeunt -Wl,--no-whole-archive|")
  [ "$(./static)" = "$version ok" ]
  if ldd static | grep libexeunt; then exit 1; fi

  # Every whole program of the documents: from ```c to ```, with a main.
  for document in "$SRC"/*.md "$SRC"/docs/*.md; do
    awk -v name="$(basename "$document" .md)" '
      /^```/ { if (inside && text ~ /int main\(/) printf "%s", text > ("doc_" name "_" ++n ".c")
               inside = /^```c$/; text = ""; next }
      inside { text = text $0 "\n" }' "$document"
  done
  for example in "$SRC"/examples/*.c doc_*.c; do
    [ -e "$example" ] || continue
    echo "compiling $example"
    $cc $flags "$example" -o example $(here $(pkg-config --cflags --libs exeunt)) -lm
  done
}
