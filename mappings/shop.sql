-- The demo's shop: a database as one would design it today. Ids are generated,
-- nothing is padded, null means unknown, dates are dates.
--
-- It already holds 800 of the ERP's customers, made by the same arithmetic on
-- their number n as in erp.sql, but typed by other people: other spellings,
-- gaps, values that moved on. And 15 customers the ERP has never heard of.

CREATE TABLE customers (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  erp_code     TEXT,
  name         TEXT NOT NULL,
  email        TEXT,
  tax_id       TEXT,
  phone        TEXT,
  address      TEXT,
  city         TEXT,
  credit_limit DECIMAL(12,2) NOT NULL DEFAULT 0,
  active       BOOLEAN NOT NULL DEFAULT TRUE,
  born_on      DATE,
  notes        TEXT,
  origin       TEXT NOT NULL DEFAULT 'shop',
  created_at   TIMESTAMP NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
  updated_at   TIMESTAMP NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);

CREATE TABLE products (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  sku          TEXT NOT NULL UNIQUE,
  title        TEXT NOT NULL,
  price        DECIMAL(10,2) NOT NULL,
  weight_grams INTEGER,
  barcode      TEXT,
  active       BOOLEAN NOT NULL DEFAULT TRUE,
  updated_at   TIMESTAMP NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);

-- 800 customers that the ERP has too ------------------------------------------------

WITH RECURSIVE
  number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 3000),
  given(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["Ana","José","Maria","Antônio","Francisca","João","Luíza",
    "Carlos","Patrícia","Paulo","Ângela","Pedro","Fernanda","Cauã","Aline","Marcos","Inês","Rafael","Júlia","Daniel",
    "Beatriz","Estevão","Camila","Vinícius","Letícia","Thiago","Mônica","Bruno","Vitória","Luís"]')),
  family(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["Silva","Santos","Oliveira","Souza","Conceição","Ferreira","Gonçalves",
    "Pereira","Lima","Araújo","Ribeiro","Carvalho","Guimarães","Barbosa","Magalhães","Rocha","Dias","Simões","Moreira","Nunes",
    "Mendes","Assunção","Freitas","Cardoso","Teixeira","Corrêa","Moura","Brandão","Cavalcanti","Nascimento","Sá"]')),
  joint(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('[" "," da "," de "," "," dos "," e "]')),
  trade(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["Comércio de Ferragens","Agropecuária","Transportes",
    "Confecções","Panificação","Materiais de Construção","Distribuidora"]')),
  city(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["São Paulo","Campinas","Ribeirão Preto","Curitiba","Florianópolis",
    "Goiânia","Belém","Maceió","Vitória","João Pessoa","São Luís"]')),
  customer AS (
    SELECT n, given.word AS given, family.word AS family, city.word AS city, n % 5 = 0 AS company,
      CASE WHEN n % 5 = 0 THEN family.word || ' ' || trade.word || ' Ltda'
           ELSE given.word || ' ' || second.word || joint.word || family.word END AS name,
      CASE WHEN n % 5 = 0 THEN printf('%08d0001%02d', n * 43046721 % 100000000, n * 31 % 100)
           ELSE printf('%09d%02d', n * 387420489 % 1000000000, n * 31 % 100) END AS tax
    FROM number
    CROSS JOIN given ON given.i  = n * 17 % 30
    CROSS JOIN family ON family.i = (n * 11 + n / 31) % 31
    CROSS JOIN family AS second ON second.i = (n * 7 + n / 13) % 31
    CROSS JOIN joint ON joint.i  = n % 6
    CROSS JOIN trade ON trade.i  = n / 5 % 7
    CROSS JOIN city ON city.i   = n * 3 % 11
    -- 4 of every 15; all have a tax number, the one thing the ERP knows them by.
    WHERE n % 15 IN (1, 4, 8, 10)
  )
INSERT INTO customers (name, email, tax_id, phone, city, credit_limit, active, born_on, notes, created_at, updated_at)
SELECT
  -- One in 20 goes by a shorter name here.
  CASE WHEN n % 20 = 1 THEN given || ' ' || family ELSE name END,
  -- One in 10 has no mail address, one in 11 another one than in the ERP.
  CASE WHEN n % 10 = 8 THEN NULL
       WHEN n % 11 = 5 THEN printf('%s%d@correio.exemplo.com', 'contato', n)
       ELSE printf('cliente%d@exemplo.com.br', n) END,
  -- One in 3 is written with its punctuation.
  CASE WHEN n % 3 <> 1 THEN tax
       WHEN company THEN substr(tax, 1, 2) || '.' || substr(tax, 3, 3) || '.' || substr(tax, 6, 3) || '/' || substr(tax, 9, 4) || '-' || substr(tax, 13)
       ELSE substr(tax, 1, 3) || '.' || substr(tax, 4, 3) || '.' || substr(tax, 7, 3) || '-' || substr(tax, 10) END,
  CASE n % 4 WHEN 0 THEN printf('(%d) 9%04d-%04d', 11 + n % 80, n * 37 % 10000, n * 91 % 10000)
             WHEN 1 THEN printf('%d 9%04d %04d', 11 + n % 80, n * 37 % 10000, n * 91 % 10000)
             WHEN 2 THEN NULL
             ELSE printf('(11) 97%03d-%04d', n % 1000, n * 91 % 10000) END,
  CASE WHEN n % 4 <> 2 THEN city END,
  -- One in 16 was granted more here than there.
  round((n * 7919 % 1000000) / 100.0 + CASE WHEN n % 16 = 3 THEN 500 ELSE 0 END, 2),
  TRUE,
  CASE WHEN NOT company AND n % 9 <> 4 AND n % 3 = 1 THEN date('1945-01-01', (n * 2477 % 22000) || ' days') END,
  CASE WHEN n % 25 = 9 THEN 'prefere entrega à tarde' END,
  strftime('%Y-%m-%d %H:%M:%f', '2025-02-01 10:00:00', n || ' minutes'),
  strftime('%Y-%m-%d %H:%M:%f', '2025-02-01 10:00:00', (n * 3) || ' minutes')
FROM customer
ORDER BY n;

-- 15 who signed up in the shop only, two of them twice with one tax number --------------

INSERT INTO customers (name, email, tax_id, created_at, updated_at)
SELECT 'Visitante ' || n, printf('visitante%d@exemplo.com', n),
  CASE WHEN n % 4 = 0 THEN NULL ELSE printf('9%08d%02d', min(n, 14) * 1234567 % 100000000, min(n, 14)) END,
  strftime('%Y-%m-%d %H:%M:%f', '2025-02-10 12:00:00', n || ' hours'),
  strftime('%Y-%m-%d %H:%M:%f', '2025-02-10 12:00:00', n || ' hours')
FROM (WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 15) SELECT n FROM number);

-- One customer of the ERP has two accounts here: who is the right one?
INSERT INTO customers (name, email, tax_id, created_at, updated_at)
SELECT name, 'segunda.conta@exemplo.com', tax_id, '2025-02-20 09:00:00.000', '2025-02-20 09:00:00.000'
FROM customers WHERE email = 'cliente1219@exemplo.com.br';

-- The ERP has room for 40 characters of this name.
UPDATE customers SET name = 'Cooperativa Agrícola Mista de São José dos Campos e Região Ltda'
WHERE tax_id = '92.893.290/0001-90';

-- A test account, with the digits everybody types.
INSERT INTO customers (name, email, tax_id, created_at, updated_at)
VALUES ('Teste', 'teste@exemplo.com', '000.000.000-00', '2025-02-21 09:00:00.000', '2025-02-21 09:00:00.000');

-- 40 products that are already on sale ------------------------------------------------

WITH RECURSIVE
  number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 240),
  thing(i, word, code) AS MATERIALIZED (SELECT key, value ->> 0, value ->> 1 FROM json_each('[["Parafuso sextavado","PAR"],["Porca de aço","POR"],
    ["Chave de fenda","CHV"],["Cimento CP II","CIM"],["Tinta acrílica","TIN"],["Prego com cabeça","PRG"],["Fechadura","FEC"],["Lâmpada LED","LAM"]]'))
INSERT INTO products (sku, title, price, weight_grams, updated_at)
SELECT printf('%s-%04d', code, n), word, round((n * 7717 % 90000 + 99) / 100.0 - CASE WHEN n % 5 = 0 THEN 1 ELSE 0 END, 2), NULL,
  strftime('%Y-%m-%d %H:%M:%f', '2025-02-01 10:00:00', n || ' minutes')
FROM number CROSS JOIN thing ON thing.i = n % 8
WHERE n % 6 = 1
ORDER BY n;

-- From here on the shop is in use: each edit moves updated_at. ---------------------------

CREATE INDEX customers_updated_at ON customers (updated_at);
CREATE INDEX customers_tax_id ON customers (tax_id);
CREATE INDEX products_updated_at ON products (updated_at);

CREATE TRIGGER customers_touched AFTER UPDATE ON customers WHEN NEW.updated_at IS OLD.updated_at BEGIN
  UPDATE customers SET updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = NEW.id;
END;

CREATE TRIGGER products_touched AFTER UPDATE ON products WHEN NEW.updated_at IS OLD.updated_at BEGIN
  UPDATE products SET updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = NEW.id;
END;
