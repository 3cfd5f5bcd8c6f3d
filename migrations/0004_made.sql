-- What the first request with an Idempotency-Key made, written in the transaction that made it: when only the
-- answer was lost, with the portal or with the database, a retry is told of it instead of making another.
ALTER TABLE idempotency_keys ADD COLUMN made uuid;
