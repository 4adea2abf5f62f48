#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every relative link of a Markdown file names a file or folder of the tree.
set -u
failed=0
check() { # TREE: a complaint per dead link
  local tree=$1 page link path
  while IFS= read -r page; do
    while IFS= read -r link; do
      case $link in *://* | mailto:* | '#'*) continue ;; esac
      path=$(dirname "$page")/${link%%#*}
      [ -e "$path" ] || echo "${page#"$tree"/}: $link is not there"
    done < <(grep -oE '\]\([^) ]+' "$page" | cut -c3-)
  done < <(find "$tree" -mindepth 1 -type d \( -name .git -o -name 'build*' \) -prune -o -name '*.md' -print)
}

dead=$(check "$SRC")
[ -z "$dead" ] || { echo "$dead"; failed=1; }

mkdir -p tree/docs
echo 'Good: [a](docs/a.md#part), ![b](docs), [c](https://example.org/x), [d](#here).' >tree/top.md
echo 'Good: [up](../top.md). Dead: [x](b.md), ![y](../docs/y.png "title").' >tree/docs/a.md
expected=$'docs/a.md: b.md is not there\ndocs/a.md: ../docs/y.png is not there'
[ "$(check tree)" = "$expected" ] || { echo "not caught: $(check tree)"; failed=1; }
exit $failed
