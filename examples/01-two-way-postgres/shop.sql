-- The shop's side: uuids as keys. It knows Ana already, and Dora, whom the ERP does not know.
DROP TABLE IF EXISTS accounts;
DROP FUNCTION IF EXISTS touch();

CREATE TABLE accounts (
  uid        uuid          PRIMARY KEY DEFAULT gen_random_uuid(),
  login      text          NOT NULL UNIQUE,
  full_name  text          NOT NULL,
  credit     numeric(12,2) NOT NULL DEFAULT 0,
  active     boolean       NOT NULL DEFAULT true,
  updated_at timestamptz   NOT NULL DEFAULT now()
);
CREATE INDEX ON accounts (updated_at);

CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END $$;
CREATE TRIGGER touch BEFORE UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION touch();

INSERT INTO accounts (login, full_name, credit) VALUES
  ('ana@example.com', 'Ana Conceição', 900.00),
  ('dora@example.com', 'Dora Assunção', 75.25);
