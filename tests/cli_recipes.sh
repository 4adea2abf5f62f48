#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The example of docs/recipes.md, word for word, on pictures made here: from
# the folder to a model that has learnt what it was shown.
set -u
command -v python3 >/dev/null || exit 77
doc=$SRC/docs/recipes.md
awk '/^```json$/ {inside = 1; next} /^```$/ {inside = 0} inside' "$doc" >pets.json
python3 - <<'END'
import os, random, struct, zlib
def png(path, pixels, side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(pixels[y * side * 3:(y + 1) * side * 3]) for y in range(side))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
random.seed(1)
for label, name in enumerate(["cat", "dog", "rabbit"]):
    os.makedirs("pets/train/" + name)
    for i in range(40):  # each class has a colour of its own
        pixels = [min(255, random.randrange(100) + (150 if c == label else 0)) for _ in range(40 * 40) for c in range(3)]
        png("pets/train/%s/%d.png" % (name, i), pixels, 40)
END
"$EXEUNT" inspect pets.json --json >out 2>&1
if grep -q 'without lib' out; then exit 77; fi # a build that reads no pictures
grep -q '"exits"' out || { cat out; exit 1; }
"$EXEUNT" train pets.json -q -o pets.safetensors --threads 2 -s train.epochs=8 >out 2>&1 || { cat out; exit 1; }
"$EXEUNT" evaluate pets.safetensors -q --policy fixed -s exit=3 --timed 0 --json >out 2>&1 || { cat out; exit 1; }
for label in cat dog rabbit; do
  grep -q "\"$label\"" out || { echo "class $label is missing"; cat out; exit 1; }
done
accuracy=$(grep -oE '^ *"accuracy": [0-9.]+' out | head -1 | grep -oE '[0-9.]+$')
awk -v a="$accuracy" 'BEGIN {exit !(a > 0.8)}' || { echo "accuracy $accuracy of colours"; exit 1; }
