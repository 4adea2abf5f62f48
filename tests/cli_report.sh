#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The page that the command writes is one file that needs no other: it names no
# address, and a browser, where there is one, shows every drawing of it alone in
# an empty folder. (test_report_html looks at balance and at hostile labels.)
set -u
export OMP_WAIT_POLICY=passive
[ -r /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || exit 77
fail() {
  echo "$1"
  exit 1
}

"$EXEUNT" train fashion-mnist -q --threads 2 -s data.split.labels-per-class=20 -s train.epochs=1 \
  -s network.stem=8 -s 'network.widths=[8,8,12,16]' -s data.split.select=500 \
  -s data.split.certify=500 -o m.safetensors >out 2>&1 || fail "$(cat out)"
"$EXEUNT" evaluate m.safetensors -q --policy entropy --timed 20 --report page.html >out 2>&1 || fail "$(cat out)"
grep -niE 'https?:|src="[^d]|(src|href)=[^"]|href="[^#]|url\(|@import|<script|<link|<iframe' page.html |
  cut -c1-200 >outside
[ ! -s outside ] || fail "names what lies outside: $(cat outside)"
for element in html head body svg table figure; do
  opened=$(grep -oE "<${element}[ >]" page.html | wc -l) closed=$(grep -o "</$element>" page.html | wc -l)
  [ "$opened" = "$closed" ] || fail "$opened <$element>, $closed </$element>"
done

browser=$(command -v chromium || command -v chromium-browser) || { echo 'no browser'; exit 0; }
mkdir alone && cp page.html alone/
timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-background-networking \
  --user-data-dir="$PWD/profile" --dump-dom "file://$PWD/alone/page.html" >dom 2>browser ||
  fail "the browser failed: $(tail -3 browser)"
for element in svg path rect img table td; do
  written=$(grep -oE "<${element}[ >]" page.html | wc -l) shown=$(grep -oE "<${element}[ >]" dom | wc -l)
  [ "$written" = "$shown" ] || fail "$written <$element> written, $shown in the browser"
done
exit 0
