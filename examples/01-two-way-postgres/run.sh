#!/usr/bin/env bash
# Prints what README.md shows. Needs ERP_DATABASE_URL and SHOP_DATABASE_URL, psql and python3.
set -euo pipefail
cd "$(dirname "$0")"
engine=${ENGINE:-../../target/release/engine}
: "${ERP_DATABASE_URL:?names the database of the ERP, such as postgres://localhost/erp}"
: "${SHOP_DATABASE_URL:?names the database of the shop, such as postgres://localhost/shop}"
export PGOPTIONS='-c client_min_messages=warning'

erp() { psql -qX -v ON_ERROR_STOP=1 "$ERP_DATABASE_URL" "$@"; }
shop() { psql -qX -v ON_ERROR_STOP=1 "$SHOP_DATABASE_URL" "$@"; }
run() { "$engine" run . --once --format json | ../counts; }
show() {
  echo 'ERP:'
  erp -At -F ' | ' -c 'SELECT email, rtrim(name), credit_limit, status FROM sales.customer ORDER BY email'
  echo 'shop:'
  shop -At -F ' | ' -c 'SELECT login, full_name, credit, active FROM accounts ORDER BY login'
}

rm -rf .engine
erp -f erp.sql
shop -f shop.sql

echo '# The first sync: Ana is found on both sides, the others are created where they are missing.'
run
show

echo
echo '# Both sides edit: Bia marries in the ERP and is granted credit in the shop; Ana is blocked; Eva signs up.'
erp -c "UPDATE sales.customer SET name = 'Bia Magalhães Sá' WHERE email = 'bia@example.com'" \
    -c "UPDATE sales.customer SET status = 'I' WHERE email = 'ana@example.com'"
shop -c "UPDATE accounts SET credit = 400 WHERE login = 'bia@example.com'" \
     -c "INSERT INTO accounts (login, full_name) VALUES ('eva@example.com', 'Eva Simões')"
run
show

echo
echo '# And again.'
run
