-- The ERP's side: a schema of its own, numbers as keys, a letter as status.
DROP SCHEMA IF EXISTS sales CASCADE;
CREATE SCHEMA sales;

CREATE TABLE sales.customer (
  id           integer       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email        text          NOT NULL UNIQUE,
  name         char(30)      NOT NULL,
  credit_limit numeric(12,2) NOT NULL DEFAULT 0,
  status       char(1)       NOT NULL DEFAULT 'A' CHECK (status IN ('A', 'I')),
  changed_at   timestamptz   NOT NULL DEFAULT now()
);
CREATE INDEX ON sales.customer (changed_at);

CREATE FUNCTION sales.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.changed_at := now();
  RETURN NEW;
END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON sales.customer FOR EACH ROW EXECUTE FUNCTION sales.stamp();

INSERT INTO sales.customer (email, name, credit_limit, status) VALUES
  ('ana@example.com', 'Ana Conceição', 1500.00, 'A'),
  ('bia@example.com', 'Bia Magalhães', 250.50, 'A'),
  ('caio@example.com', 'Caio Sá', 0, 'I');
