-- The demo's ERP: two tables shaped like those of TOTVS Protheus, company 01.
--
-- What is typical of it: codes and texts are CHAR, filled with blanks to their
-- length; nothing is ever null, blank stands for it; dates are CHAR(8),
-- YYYYMMDD; a deleted row stays, marked `*` in D_E_L_E_T_, and its code may be
-- given to somebody else; R_E_C_N_O_ numbers the rows; S_T_A_M_P_ says in UTC
-- when a row last changed and is null on rows older than the stamp itself.
--
-- Nobody in here is real: every row is arithmetic on its number n, the same
-- on every machine. shop.sql makes some of the same people by the same arithmetic.

CREATE TABLE SA1 (                              -- customers
  A1_FILIAL    CHAR(2)       NOT NULL DEFAULT '  ',
  A1_COD       CHAR(6)       NOT NULL,
  A1_LOJA      CHAR(2)       NOT NULL DEFAULT '01',
  A1_PESSOA    CHAR(1)       NOT NULL DEFAULT 'F',          -- F person, J company
  A1_NOME      CHAR(40)      NOT NULL,
  A1_CGC       CHAR(14)      NOT NULL DEFAULT '              ',  -- tax number: CPF of 11 digits, CNPJ of 14
  A1_EMAIL     CHAR(60)      NOT NULL DEFAULT '                                                            ',
  A1_TEL       CHAR(15)      NOT NULL DEFAULT '               ',
  A1_END       CHAR(50)      NOT NULL DEFAULT '                                                  ',
  A1_MUN       CHAR(30)      NOT NULL DEFAULT '                              ',
  A1_EST       CHAR(2)       NOT NULL DEFAULT '  ',
  A1_CEP       CHAR(8)       NOT NULL DEFAULT '        ',
  A1_LC        DECIMAL(12,2) NOT NULL DEFAULT 0,            -- credit limit
  A1_DTNASC    CHAR(8)       NOT NULL DEFAULT '        ',   -- born on
  A1_MSBLQL    CHAR(1)       NOT NULL DEFAULT '2',          -- blocked: 1 yes, 2 no
  A1_OBS       VARCHAR(200)  NOT NULL DEFAULT '',
  S_T_A_M_P_   TIMESTAMP     DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
  D_E_L_E_T_   CHAR(1)       NOT NULL DEFAULT ' ',
  R_E_C_N_O_   INTEGER       PRIMARY KEY AUTOINCREMENT,
  R_E_C_D_E_L_ INTEGER       NOT NULL DEFAULT 0             -- its own number once deleted, so that the code is free again
);

CREATE TABLE SB1 (                              -- products
  B1_FILIAL    CHAR(2)       NOT NULL DEFAULT '  ',
  B1_COD       CHAR(15)      NOT NULL,
  B1_DESC      CHAR(60)      NOT NULL,
  B1_TIPO      CHAR(2)       NOT NULL DEFAULT 'PA',         -- PA finished product, MP raw material
  B1_UM        CHAR(2)       NOT NULL DEFAULT 'UN',
  B1_PRV1      DECIMAL(12,4) NOT NULL DEFAULT 0,            -- list price
  B1_PESO      DECIMAL(11,4) NOT NULL DEFAULT 0,            -- weight in kg
  B1_CODBAR    CHAR(15)      NOT NULL DEFAULT '               ',
  B1_MSBLQL    CHAR(1)       NOT NULL DEFAULT '2',
  S_T_A_M_P_   TIMESTAMP     DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
  D_E_L_E_T_   CHAR(1)       NOT NULL DEFAULT ' ',
  R_E_C_N_O_   INTEGER       PRIMARY KEY AUTOINCREMENT,
  R_E_C_D_E_L_ INTEGER       NOT NULL DEFAULT 0
);

-- 3,000 customers --------------------------------------------------------------

WITH RECURSIVE
  number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 3000),
  given(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["ANA","JOSÉ","MARIA","ANTÔNIO","FRANCISCA","JOÃO","LUÍZA",
    "CARLOS","PATRÍCIA","PAULO","ÂNGELA","PEDRO","FERNANDA","CAUÃ","ALINE","MARCOS","INÊS","RAFAEL","JÚLIA","DANIEL",
    "BEATRIZ","ESTEVÃO","CAMILA","VINÍCIUS","LETÍCIA","THIAGO","MÔNICA","BRUNO","VITÓRIA","LUÍS"]')),
  family(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["SILVA","SANTOS","OLIVEIRA","SOUZA","CONCEIÇÃO","FERREIRA","GONÇALVES",
    "PEREIRA","LIMA","ARAÚJO","RIBEIRO","CARVALHO","GUIMARÃES","BARBOSA","MAGALHÃES","ROCHA","DIAS","SIMÕES","MOREIRA","NUNES",
    "MENDES","ASSUNÇÃO","FREITAS","CARDOSO","TEIXEIRA","CORRÊA","MOURA","BRANDÃO","CAVALCANTI","NASCIMENTO","SÁ"]')),
  joint(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('[" "," DA "," DE "," "," DOS "," E "]')),
  trade(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["COMÉRCIO DE FERRAGENS","AGROPECUÁRIA","TRANSPORTES",
    "CONFECÇÕES","PANIFICAÇÃO","MATERIAIS DE CONSTRUÇÃO","DISTRIBUIDORA"]')),
  city(i, word, state, prefix) AS MATERIALIZED (SELECT key, value ->> 0, value ->> 1, value ->> 2 FROM json_each('[["SÃO PAULO","SP","01"],
    ["CAMPINAS","SP","13"],["RIBEIRÃO PRETO","SP","14"],["CURITIBA","PR","80"],["FLORIANÓPOLIS","SC","88"],["GOIÂNIA","GO","74"],
    ["BELÉM","PA","66"],["MACEIÓ","AL","57"],["VITÓRIA","ES","29"],["JOÃO PESSOA","PB","58"],["SÃO LUÍS","MA","65"]]')),
  street(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["RUA XV DE NOVEMBRO","AV. BRASIL","RUA DAS ACÁCIAS","TRAVESSA SÃO JOSÉ",
    "AV. GETÚLIO VARGAS","RUA DO COMÉRCIO","ALAMEDA DOS IPÊS"]')),
  customer AS (
    SELECT n, given.word AS given, family.word AS family, city.word AS city, city.state, city.prefix, street.word AS street,
      CASE WHEN n % 5 = 0 THEN 'J' ELSE 'F' END AS person,
      CASE WHEN n % 5 = 0 THEN family.word || ' ' || trade.word || ' LTDA'
           ELSE given.word || ' ' || second.word || joint.word || family.word END AS name,
      CASE WHEN n % 5 = 0 THEN printf('%08d0001%02d', n * 43046721 % 100000000, n * 31 % 100)
           ELSE printf('%09d%02d', n * 387420489 % 1000000000, n * 31 % 100) END AS tax
    FROM number                                 -- CROSS JOIN: in this order, one look-up each
    CROSS JOIN given ON given.i  = n * 17 % 30
    CROSS JOIN family ON family.i = (n * 11 + n / 31) % 31
    CROSS JOIN family AS second ON second.i = (n * 7 + n / 13) % 31
    CROSS JOIN joint ON joint.i  = n % 6
    CROSS JOIN trade ON trade.i  = n / 5 % 7
    CROSS JOIN city ON city.i   = n * 3 % 11
    CROSS JOIN street ON street.i = n / 3 % 7
  )
INSERT INTO SA1 (R_E_C_N_O_, A1_COD, A1_LOJA, A1_PESSOA, A1_NOME, A1_CGC, A1_EMAIL, A1_TEL, A1_END, A1_MUN, A1_EST, A1_CEP,
                 A1_LC, A1_DTNASC, A1_MSBLQL, A1_OBS, S_T_A_M_P_)
SELECT n, printf('%06d', n), '01', person,
  substr(name || printf('%40s', ''), 1, 40),
  -- One in 40 has no tax number.
  substr(CASE WHEN n % 40 = 7 THEN '' ELSE tax END || printf('%14s', ''), 1, 14),
  -- One in 6 has no mail address; one in 8 of the others is shouted.
  substr(CASE WHEN n % 6 = 1 THEN ''
              WHEN n % 8 = 3 THEN printf('CLIENTE%d@EXEMPLO.COM.BR', n)
              ELSE printf('cliente%d@exemplo.com.br', n) END || printf('%60s', ''), 1, 60),
  substr(CASE n % 4 WHEN 0 THEN printf('(%d) 9%04d-%04d', 11 + n % 80, n * 37 % 10000, n * 91 % 10000)
                    WHEN 1 THEN printf('%d9%04d%04d', 11 + n % 80, n * 37 % 10000, n * 91 % 10000)
                    WHEN 2 THEN printf('3%03d %04d', n * 37 % 1000, n * 91 % 10000)
                    ELSE '' END || printf('%15s', ''), 1, 15),
  substr(street || ', ' || (n * 13 % 1990 + 1) || printf('%50s', ''), 1, 50),
  substr(city || printf('%30s', ''), 1, 30), state, printf('%s%06d', prefix, n * 6561 % 1000000),
  round((n * 7919 % 1000000) / 100.0, 2),
  CASE WHEN person = 'J' OR n % 9 = 4 THEN '        '
       ELSE strftime('%Y%m%d', '1945-01-01', (n * 2477 % 22000) || ' days') END,
  CASE WHEN n % 50 = 13 THEN '1' ELSE '2' END,
  CASE WHEN n % 25 = 2 THEN 'paga só em dinheiro' WHEN n % 25 = 9 THEN 'entregar à tarde; falar com ' || given ELSE '' END,
  CASE WHEN n > 60 THEN strftime('%Y-%m-%d %H:%M:%f', '2025-01-02 08:00:00', (n * 7) || ' minutes') END
FROM customer
ORDER BY n;

-- Odd cases, as every real table has them ----------------------------------------

-- Test digits typed where a tax number was demanded.
UPDATE SA1 SET A1_CGC = '00000000000   ' WHERE R_E_C_N_O_ IN (118, 905, 1731, 2262);
-- Half of the punctuation kept, and junk typed behind the number.
UPDATE SA1 SET A1_CGC = substr(A1_CGC, 1, 9) || '-' || substr(A1_CGC, 10, 2) || '  ' WHERE R_E_C_N_O_ IN (16, 64, 451, 1201);
UPDATE SA1 SET A1_CGC = substr(A1_CGC, 1, 11) || ' *.' WHERE R_E_C_N_O_ IN (34, 811, 1999);
-- The same tax number twice: a branch (same code, LOJA 02), or simply typed in again.
UPDATE SA1 SET A1_COD = '000154', A1_LOJA = '02', A1_CGC = (SELECT A1_CGC FROM SA1 WHERE R_E_C_N_O_ = 154) WHERE R_E_C_N_O_ = 2954;
UPDATE SA1 SET A1_CGC = (SELECT A1_CGC FROM SA1 WHERE R_E_C_N_O_ = 424) WHERE R_E_C_N_O_ = 2424;
UPDATE SA1 SET A1_CGC = (SELECT A1_CGC FROM SA1 WHERE R_E_C_N_O_ = 668) WHERE R_E_C_N_O_ = 2672;
UPDATE SA1 SET A1_CGC = (SELECT A1_CGC FROM SA1 WHERE R_E_C_N_O_ = 1203) WHERE R_E_C_N_O_ IN (2702, 2703);
-- Names: quotes, no capitals, inner blanks, all 40 characters, an apostrophe, and one that is blank.
UPDATE SA1 SET A1_NOME = substr('PADARIA "DOIS IRMÃOS" LTDA' || printf('%40s', ''), 1, 40) WHERE R_E_C_N_O_ = 75;
UPDATE SA1 SET A1_NOME = substr('maria aparecida d''ávila' || printf('%40s', ''), 1, 40) WHERE R_E_C_N_O_ = 241;
UPDATE SA1 SET A1_NOME = substr('João  Batista   NETO' || printf('%40s', ''), 1, 40) WHERE R_E_C_N_O_ = 362;
UPDATE SA1 SET A1_NOME = 'COOPERATIVA AGRÍCOLA MISTA DE SÃO JOSÉ D' WHERE R_E_C_N_O_ = 490;
UPDATE SA1 SET A1_NOME = substr('ANA' || printf('%40s', ''), 1, 40) WHERE R_E_C_N_O_ = 511;
UPDATE SA1 SET A1_NOME = printf('%40s', '') WHERE R_E_C_N_O_ = 777;
-- A birthday that the calendar does not have, and one of zeros.
UPDATE SA1 SET A1_DTNASC = '19790231' WHERE R_E_C_N_O_ = 1037;
UPDATE SA1 SET A1_DTNASC = '00000000' WHERE R_E_C_N_O_ IN (1038, 1041);
-- Codes from before codes were numbers: shorter than the field.
UPDATE SA1 SET A1_COD = 'ABC   ' WHERE R_E_C_N_O_ = 21;
UPDATE SA1 SET A1_COD = 'Z9    ' WHERE R_E_C_N_O_ = 22;
UPDATE SA1 SET A1_COD = '1     ' WHERE R_E_C_N_O_ = 23;

-- Deleted rows: 30 whose codes nobody has, 10 whose codes were given to others.
INSERT INTO SA1 (R_E_C_N_O_, A1_COD, A1_LOJA, A1_NOME, A1_CGC, A1_EMAIL, A1_OBS, A1_LC, S_T_A_M_P_, D_E_L_E_T_, R_E_C_D_E_L_)
SELECT n + 3000, printf('%06d', CASE WHEN n <= 30 THEN 9000 + n ELSE n * 3 END), '01',
  substr('CADASTRO ANTIGO ' || n || printf('%40s', ''), 1, 40), printf('%09d%02d   ', n * 7654321 % 1000000000, n),
  substr('antigo' || n || '@exemplo.com.br' || printf('%60s', ''), 1, 60), 'excluído', -1,
  strftime('%Y-%m-%d %H:%M:%f', '2025-01-01 09:00:00', n || ' minutes'), '*', n + 3000
FROM (WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 40) SELECT n FROM number);

-- 240 products, 200 of them for sale -------------------------------------------------

WITH RECURSIVE
  number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 240),
  thing(i, word, code, unit) AS MATERIALIZED (SELECT key, value ->> 0, value ->> 1, value ->> 2 FROM json_each('[["PARAFUSO SEXTAVADO","PAR","CT"],
    ["PORCA DE AÇO","POR","CT"],["CHAVE DE FENDA","CHV","UN"],["CIMENTO CP II","CIM","SC"],["TINTA ACRÍLICA","TIN","LT"],
    ["PREGO COM CABEÇA","PRG","KG"],["FECHADURA","FEC","UN"],["LÂMPADA LED","LAM","UN"]]')),
  kind(i, word) AS MATERIALIZED (SELECT key, value FROM json_each('["1/4","5/16 X 2\"","Nº 8","PEQUENO","MÉDIO","GRANDE"]'))
INSERT INTO SB1 (R_E_C_N_O_, B1_COD, B1_DESC, B1_TIPO, B1_UM, B1_PRV1, B1_PESO, B1_CODBAR, B1_MSBLQL, S_T_A_M_P_)
SELECT n, substr(printf('%s-%04d', code, n) || printf('%15s', ''), 1, 15),
  substr(thing.word || ' ' || kind.word || printf('%60s', ''), 1, 60),
  CASE WHEN n % 6 = 5 THEN 'MP' ELSE 'PA' END, unit,
  round((n * 7717 % 90000 + 99) / 100.0, 2), round((n * 331 % 25000 + 5) / 1000.0, 3),
  CASE WHEN n % 7 = 0 THEN printf('%15s', '') ELSE printf('789%010d  ', n * 1000003) END,
  CASE WHEN n % 30 = 11 THEN '1' ELSE '2' END,
  strftime('%Y-%m-%d %H:%M:%f', '2025-01-02 08:00:00', (n * 11) || ' minutes')
FROM number CROSS JOIN thing ON thing.i = n % 8 CROSS JOIN kind ON kind.i = n / 8 % 6
ORDER BY n;

-- From here on the ERP is in use: codes are unique, and each edit moves the stamp. ------

CREATE UNIQUE INDEX SA1_UNQ ON SA1 (A1_FILIAL, A1_COD, A1_LOJA, R_E_C_D_E_L_);
CREATE UNIQUE INDEX SB1_UNQ ON SB1 (B1_FILIAL, B1_COD, R_E_C_D_E_L_);
CREATE INDEX SA13 ON SA1 (A1_FILIAL, A1_CGC);
CREATE INDEX SA1_STAMP ON SA1 (S_T_A_M_P_);
CREATE INDEX SB1_STAMP ON SB1 (S_T_A_M_P_);

CREATE TRIGGER SA1_STAMPS AFTER UPDATE ON SA1 WHEN NEW.S_T_A_M_P_ IS OLD.S_T_A_M_P_ BEGIN
  UPDATE SA1 SET S_T_A_M_P_ = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE R_E_C_N_O_ = NEW.R_E_C_N_O_;
END;

CREATE TRIGGER SB1_STAMPS AFTER UPDATE ON SB1 WHEN NEW.S_T_A_M_P_ IS OLD.S_T_A_M_P_ BEGIN
  UPDATE SB1 SET S_T_A_M_P_ = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE R_E_C_N_O_ = NEW.R_E_C_N_O_;
END;
