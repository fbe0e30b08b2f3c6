CREATE TABLE products (sku TEXT PRIMARY KEY, title TEXT NOT NULL, price DECIMAL(10,2) NOT NULL, listed_on DATE, stock INTEGER);
INSERT INTO products VALUES ('009', 'Vale-presente', 50, '2024-02-29', NULL);
