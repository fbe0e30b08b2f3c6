CREATE TABLE items (
  code         TEXT PRIMARY KEY,
  description  TEXT,
  price        DECIMAL(10,2),
  title        TEXT,
  note         TEXT,
  stock        INTEGER,
  tags         JSON,
  longest_wait INTEGER,
  lowest_price DECIMAL(10,2),
  changed_at   TIMESTAMP NOT NULL
);

INSERT INTO items VALUES ('L-1', 'A lamp.', 10.00, 'Lamp', 'one in the back', 100, '["light"]', 5, 9.50, '2025-03-01 09:00:00');
