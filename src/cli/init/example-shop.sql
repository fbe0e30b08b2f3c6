CREATE TABLE products (id INTEGER PRIMARY KEY, sku TEXT UNIQUE, title TEXT NOT NULL, price DECIMAL(10,2), stock INTEGER);
INSERT INTO products (sku, title, price, stock) VALUES ('A-200', 'Chair, oak', 129.00, 4);
