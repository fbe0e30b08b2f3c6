CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2), stock INTEGER);
INSERT INTO items VALUES
  ('A-100', 'Desk lamp', 39.90, 12),
  ('A-200', 'Chair, oak', 129.00, 4),
  ('A-300', 'Table, oak', 420.50, 2);
