#!/usr/bin/env bash
# Prints what README.md shows. Needs sqlite3 and python3.
set -euo pipefail
cd "$(dirname "$0")"
engine=${ENGINE:-../../target/release/engine}

# A conflict makes a run partial, exit code 1; anything above is trouble.
run() { { "$engine" run . --once --format json || (($? == 1)); } | ../counts; }
show() {
  for side in office shop; do
    sqlite3 -list -separator ' | ' "data/$side.db" "
      SELECT '$side', description, printf('%.2f', price), title, note, stock,
        (SELECT group_concat(value, '+') FROM (SELECT value FROM json_each(tags) ORDER BY value)), longest_wait, printf('%.2f', lowest_price) FROM items"
  done
}
open_conflicts() { "$engine" conflicts list . --format json; }

rm -rf .engine data

echo '# Both sides are the same.'
run
show

echo
echo '# Both edit every field, the office at ten, the shop at eleven.'
sqlite3 data/office.db "UPDATE items SET description = 'A desk lamp.', price = 12.00, title = 'Desk lamp', note = 'two in the back', stock = 95,
  tags = '[\"light\",\"new\"]', longest_wait = 7, lowest_price = 8.00, changed_at = '2025-03-02 10:00:00'"
sqlite3 data/shop.db "UPDATE items SET description = 'A lamp for tables.', price = 11.00, title = 'Table lamp', note = 'three in the back', stock = 110,
  tags = '[\"light\",\"sale\"]', longest_wait = 9, lowest_price = 9.00, changed_at = '2025-03-02 11:00:00'"
show
run
show

echo
echo '# What is left to a person.'
open_conflicts | python3 -c '
import json, sys
for one in json.load(sys.stdin)["conflicts"]:
    print(one["field"], "was", repr(one["source_base"]) + ";", "source", repr(one["source"]) + ",", "target", repr(one["target"]) + ":", one["policy"], one["status"])'

echo
echo '# The shop is right; the next run applies it.'
id=$(open_conflicts | python3 -c 'import json, sys; print(json.load(sys.stdin)["conflicts"][0]["id"])')
"$engine" conflicts resolve . "$id" --take target > /dev/null
run
show

echo
echo '# And again.'
run
