-- More than one place to run: regions, plans, pause, and what several portals share.

-- ── Regions ──────────────────────────────────────────────────────────────────────────────────────────
-- Where clusters can run. The operator registers them (`portal region add`); a closed one takes no new
-- clusters and goes on with those it has. `clusters.region` names one; a cloud on one machine has one.
CREATE TABLE regions (
  name       text PRIMARY KEY CHECK (name ~ '^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$'),
  title      text NOT NULL CHECK (length(title) BETWEEN 1 AND 80),   -- as tenants read it
  runtime    text NOT NULL CHECK (runtime IN ('process', 'kubernetes')),
  endpoint   text NOT NULL CHECK (endpoint ~ '^.+:[0-9]+$'),         -- host:port of its gateways: what profiles carry
  created_at timestamptz NOT NULL DEFAULT now(),
  closed_at  timestamptz
);

-- ── Plans and pause ──────────────────────────────────────────────────────────────────────────────────
ALTER TABLE clusters
  ADD COLUMN plan      text NOT NULL DEFAULT 'small' CHECK (plan IN ('small', 'medium', 'large')),
  ADD COLUMN paused_at timestamptz;                    -- its servers rest, its data, certificates and access are kept

ALTER TABLE cluster_status DROP CONSTRAINT cluster_status_state_check;
ALTER TABLE cluster_status ADD CONSTRAINT cluster_status_state_check
  CHECK (state IN ('creating', 'running', 'degraded', 'failed', 'pausing', 'paused', 'deleting', 'deleted'));

-- ── What several portals share ───────────────────────────────────────────────────────────────────────
-- Token buckets by kind and client address (its SHA-256: an address is personal data). Lost in a crash of the
-- database, which costs a stranger nothing but a fresh bucket.
CREATE UNLOGGED TABLE rate_buckets (
  kind       text NOT NULL,
  key        bytea NOT NULL CHECK (length(key) = 32),
  tokens     double precision NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, key)
);
CREATE INDEX rate_buckets_updated ON rate_buckets (updated_at);

-- Mail of a cloud without a mail server, shown by the portal itself.
CREATE TABLE outbox_mails (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  recipient  text NOT NULL,
  subject    text NOT NULL,
  body       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- ── Grants ───────────────────────────────────────────────────────────────────────────────────────────
GRANT SELECT ON regions TO cloud_portal, cloud_provisioner, cloud_gateway;
GRANT INSERT, UPDATE ON regions TO cloud_portal;
GRANT SELECT, INSERT, UPDATE, DELETE ON rate_buckets, outbox_mails TO cloud_portal;
-- A gateway serves the clusters of its own region.
GRANT SELECT (region, paused_at) ON clusters TO cloud_gateway;
