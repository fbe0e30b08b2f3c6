#!/usr/bin/env bash
# Prints what README.md shows. Needs sqlite3, iconv and python3.
set -euo pipefail
cd "$(dirname "$0")"
engine=${ENGINE:-../../target/release/engine}

# A record that is newly parked makes a run partial, exit code 1; anything above is trouble.
run() { { "$engine" run . --once --format json || (($? == 1)); } | ../counts; }
sheet() { iconv -f windows-1252 -t utf-8 data/products.csv | tr -d '\r'; }
shop() { sqlite3 -list -separator ' | ' data/shop.db "SELECT sku, title, price, coalesce(listed_on, '-'), coalesce(stock, '-') FROM products ORDER BY sku"; }

rm -rf .engine data
mkdir data
cp products.csv data/

echo '# The first run: a date of the sheet is none.'
run
"$engine" parked list . --format json | python3 -c '
import json, sys
for one in json.load(sys.stdin)["parked"]:
    print(one["message"])'
shop
sheet

echo
echo '# Somebody mends it and changes a price; the shop renames a product and sells one.'
sed -i 's|31/02/2026|28/02/2026|; s|39,90|42,50|' data/products.csv
sqlite3 data/shop.db "UPDATE products SET title = 'Açúcar mascavo' WHERE sku = '002'; UPDATE products SET stock = 11 WHERE sku = '001'"
run
shop
sheet

echo
echo '# A line is taken out.'
sed -i '/^003/d' data/products.csv
run
shop

echo
echo '# And again.'
run
