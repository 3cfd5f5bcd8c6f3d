-- The contract between portal, signer, provisioner and gateway.
--
-- Arrows point one way: the portal writes what tenants *want*, the provisioner and the gateway write what
-- *is*, the signer turns requests into certificates. A notification says only "look again": every reader
-- also looks on a timer and does the same work each time.

-- ── Roles: one per program, with the least grants (at the end of this file) ──────────────────────────
-- Roles belong to the whole server, so a second database of the same server finds them there already.
DO $$
DECLARE program text;
BEGIN
  FOREACH program IN ARRAY ARRAY['cloud_portal', 'cloud_signer', 'cloud_provisioner', 'cloud_gateway'] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I LOGIN', program);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END LOOP;
END $$;

-- ── People ───────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE users (
  id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email         text NOT NULL CHECK (length(email) <= 254),
  password_hash text NOT NULL,                       -- argon2id, PHC string
  verified_at   timestamptz,                         -- NULL: the address is not proven, no sign-in
  operator      boolean NOT NULL DEFAULT false,      -- runs the cloud; set by `portal operator grant`
  disabled_at   timestamptz,
  created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

-- Links sent by mail. Only the SHA-256 of the secret in the link rests here. A link carries the password that
-- was chosen when it was asked for, so that a stranger who signs up with somebody else's address cannot slip
-- his own password under the account that the owner then verifies.
CREATE TABLE email_links (
  secret_hash   bytea PRIMARY KEY CHECK (length(secret_hash) = 32),
  user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  password_hash text NOT NULL,
  purpose       text NOT NULL CHECK (purpose IN ('verify')),
  created_at    timestamptz NOT NULL DEFAULT now(),
  expires_at    timestamptz NOT NULL,
  used_at       timestamptz
);
CREATE INDEX email_links_user ON email_links (user_id);

-- A sign-in: from the browser (cookie) or from the CLI (refresh tokens hang on it).
CREATE TABLE sessions (
  id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  secret_hash  bytea UNIQUE CHECK (length(secret_hash) = 32), -- the cookie's; NULL for a CLI session
  user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  kind         text NOT NULL CHECK (kind IN ('browser', 'cli', 'legacy')),
  address      text NOT NULL,
  agent        text NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  last_seen_at timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz NOT NULL,
  ended_at     timestamptz
);
CREATE INDEX sessions_user ON sessions (user_id);

-- Rotating refresh tokens: using one marks it used and makes the next; using a used one ends the session.
CREATE TABLE refresh_tokens (
  secret_hash bytea PRIMARY KEY CHECK (length(secret_hash) = 32),
  session_id  uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
  issued_at   timestamptz NOT NULL DEFAULT now(),
  used_at     timestamptz
);

CREATE TABLE organisations (
  id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
  max_clusters integer NOT NULL DEFAULT 3 CHECK (max_clusters >= 0),
  created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE memberships (
  organisation_id uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
  user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  role            text NOT NULL CHECK (role IN ('owner', 'member')),
  created_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (organisation_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);

CREATE TABLE api_tokens (
  id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  organisation_id uuid NOT NULL REFERENCES organisations ON DELETE CASCADE,
  user_id         uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  name            text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
  secret_hash     bytea NOT NULL UNIQUE CHECK (length(secret_hash) = 32),
  scopes          text[] NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  expires_at      timestamptz NOT NULL,
  last_used_at    timestamptz,
  revoked_at      timestamptz
);

-- The first answer to a POST with an Idempotency-Key, given again to the same key.
CREATE TABLE idempotency_keys (
  user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
  request_hash bytea NOT NULL CHECK (length(request_hash) = 32), -- of method, path and body
  status       integer,                                          -- NULL while the first is under way
  body         jsonb,
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (user_id, key)
);

-- ── Clusters: what is wanted ─────────────────────────────────────────────────────────────────────────
-- A label is made by the server, is the first part of the cluster's domain, and is never used again.
CREATE TABLE used_labels (
  label   text PRIMARY KEY CHECK (label ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  used_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE clusters (
  id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  organisation_id   uuid NOT NULL REFERENCES organisations,
  name              text NOT NULL CHECK (name ~ '^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$'),
  label             text NOT NULL UNIQUE REFERENCES used_labels,
  domain            text NOT NULL UNIQUE,              -- <label>.<base domain>: the SNI of its SC
  runtime           text NOT NULL CHECK (runtime IN ('process', 'kubernetes')),
  region            text NOT NULL,
  host              text,                              -- the machine of a `process` cluster; set by the one who claims it
  spus              integer NOT NULL DEFAULT 1 CHECK (spus BETWEEN 1 AND 9),
  durability        text NOT NULL DEFAULT 'disk' CHECK (durability IN ('disk', 'memory')),
  max_storage_bytes bigint NOT NULL DEFAULT 2147483648 CHECK (max_storage_bytes > 0),
  max_partitions    integer NOT NULL DEFAULT 100 CHECK (max_partitions > 0),
  max_connections   integer NOT NULL DEFAULT 500 CHECK (max_connections > 0),
  max_message_bytes integer NOT NULL DEFAULT 33554432 CHECK (max_message_bytes BETWEEN 1024 AND 33554432),
  generation        bigint NOT NULL DEFAULT 1,         -- grows with every change of what is wanted, access included
  created_by        uuid REFERENCES users ON DELETE SET NULL,
  created_at        timestamptz NOT NULL DEFAULT now(),
  deleted_at        timestamptz,                       -- deletion is wanted; routes and processes go
  purge_after       timestamptz,                       -- from then on keys, data and this row go too
  CHECK ((deleted_at IS NULL) = (purge_after IS NULL))
);
CREATE UNIQUE INDEX clusters_name_key ON clusters (organisation_id, name) WHERE deleted_at IS NULL;

-- ── Clusters: what is ────────────────────────────────────────────────────────────────────────────────
CREATE TABLE cluster_status (
  cluster_id          uuid PRIMARY KEY REFERENCES clusters ON DELETE CASCADE,
  state               text NOT NULL CHECK (state IN ('creating', 'running', 'degraded', 'failed', 'deleting', 'deleted')),
  reason              text NOT NULL DEFAULT '',        -- for the tenant: what is being done, or what is wrong
  observed_generation bigint NOT NULL DEFAULT 0,       -- the `generation` that is in force
  spus_ready          integer NOT NULL DEFAULT 0,
  partitions          integer NOT NULL DEFAULT 0,
  storage_bytes       bigint NOT NULL DEFAULT 0,
  restarts            integer NOT NULL DEFAULT 0,
  last_error          text,                            -- for the operator
  last_error_at       timestamptz,
  ready_at            timestamptz,                     -- first time a client could use it
  updated_at          timestamptz NOT NULL DEFAULT now()
);

-- Where the gateway finds a cluster's servers. server_name '' is the SC (SNI <domain>), any other an SPU's
-- name (SNI <name>.<domain>). address: 'unix:/path' or 'tcp:host:port'.
CREATE TABLE cluster_backends (
  cluster_id  uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
  server_name text NOT NULL CHECK (server_name ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$'),
  address     text NOT NULL CHECK (address ~ '^(unix:/|tcp:).+'),
  PRIMARY KEY (cluster_id, server_name)
);

-- Who works on a cluster. The token grows with each new holder, and every write of status, backends or
-- deletion checks holder and token in the same statement, so a holder that slept past its end changes nothing.
CREATE TABLE leases (
  cluster_id uuid PRIMARY KEY REFERENCES clusters ON DELETE CASCADE,
  holder     uuid NOT NULL,
  token      bigint NOT NULL DEFAULT 1,
  expires_at timestamptz NOT NULL
);
CREATE INDEX leases_holder ON leases (holder);

-- ── Certificates ─────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE certificate_authorities (
  id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  cluster_id      uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
  purpose         text NOT NULL CHECK (purpose IN ('server', 'client', 'internal')),
  certificate_der bytea NOT NULL,
  sealed_key      bytea NOT NULL,   -- AES-256-GCM under a key that is not in Postgres; only the signer reads this column
  created_at      timestamptz NOT NULL DEFAULT now(),
  not_after       timestamptz NOT NULL,
  UNIQUE (cluster_id, purpose)
);

-- What a principal may do. One principal per person and cluster, or per API token and cluster.
CREATE TABLE access_entries (
  principal_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  cluster_id   uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
  user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  role         text NOT NULL CHECK (role IN ('admin', 'user')),
  created_at   timestamptz NOT NULL DEFAULT now(),
  revoked_at   timestamptz
);
CREATE UNIQUE INDEX access_entries_live ON access_entries (cluster_id, user_id, role) WHERE revoked_at IS NULL;

-- CSR in, certificate out. The signer takes only the public key and the proof of possession from the CSR;
-- names come from the cluster (server, internal) or from the principal (client).
CREATE TABLE certificate_requests (
  id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  cluster_id       uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
  kind             text NOT NULL CHECK (kind IN ('server', 'client', 'internal')),
  principal_id     uuid REFERENCES access_entries ON DELETE CASCADE,
  label            text NOT NULL DEFAULT '' CHECK (length(label) <= 120), -- shown to the tenant: the device, say
  csr_der          bytea NOT NULL CHECK (length(csr_der) <= 16384),
  lifetime_seconds bigint NOT NULL CHECK (lifetime_seconds BETWEEN 60 AND 34560000),
  requested_by     name NOT NULL DEFAULT current_user,   -- no grant to write it: the database says who asked
  requested_at     timestamptz NOT NULL DEFAULT now(),
  state            text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'issued', 'refused')),
  refusal          text,                                 -- for the person who sent the CSR
  CHECK ((kind = 'client') = (principal_id IS NOT NULL)),
  CHECK (kind = 'client' OR requested_by <> 'cloud_portal')
);
CREATE INDEX certificate_requests_pending ON certificate_requests (requested_at) WHERE state = 'pending';

-- The log of every certificate. The row comes first, then the signature, then the release: no certificate
-- can exist without its row. It outlives its cluster, hence no foreign keys.
CREATE TABLE certificates (
  id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  request_id      uuid NOT NULL UNIQUE,
  organisation_id uuid NOT NULL,
  cluster_id      uuid NOT NULL,
  kind            text NOT NULL CHECK (kind IN ('server', 'client', 'internal')),
  principal_id    uuid,
  label           text NOT NULL DEFAULT '',
  serial          bytea NOT NULL CHECK (length(serial) BETWEEN 8 AND 20),
  public_key_hash bytea NOT NULL CHECK (length(public_key_hash) = 32), -- SHA-256 of the SubjectPublicKeyInfo
  certificate_der bytea,                                               -- NULL until signed
  not_before      timestamptz NOT NULL,
  not_after       timestamptz NOT NULL,
  created_at      timestamptz NOT NULL DEFAULT now(),
  revoked_at      timestamptz,
  revoked_by      uuid,
  UNIQUE (cluster_id, serial)
);
CREATE INDEX certificates_cluster ON certificates (cluster_id, created_at);

-- ── What happened ────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE audit_events (
  id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at              timestamptz NOT NULL DEFAULT now(),
  organisation_id uuid,
  user_id         uuid,
  credential      text NOT NULL,          -- 'session:<id>', 'token:<id>', 'program:provisioner', 'none'
  address         text NOT NULL DEFAULT '',
  action          text NOT NULL,          -- 'cluster.create', 'certificate.revoke', …
  object          text NOT NULL DEFAULT '',
  outcome         text NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
  detail          jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_events_organisation ON audit_events (organisation_id, id);

-- Traffic by cluster, gateway and minute. The gateway writes absolute figures of its minute, so writing a
-- row twice changes nothing.
CREATE TABLE usage (
  cluster_id  uuid NOT NULL REFERENCES clusters ON DELETE CASCADE,
  gateway     text NOT NULL,
  minute      timestamptz NOT NULL,
  bytes_in    bigint NOT NULL,            -- client to cluster
  bytes_out   bigint NOT NULL,            -- cluster to client
  opened      bigint NOT NULL,            -- connections opened in this minute
  refused     bigint NOT NULL,            -- connections refused by a limit in this minute
  open        bigint NOT NULL,            -- connections open when the row was last written
  PRIMARY KEY (cluster_id, gateway, minute)
);

-- ── "Look again" ─────────────────────────────────────────────────────────────────────────────────────
CREATE FUNCTION look_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify(TG_ARGV[0], '');
  RETURN NULL;
END $$;
CREATE TRIGGER clusters_changed AFTER INSERT OR UPDATE OR DELETE ON clusters
  FOR EACH STATEMENT EXECUTE FUNCTION look_again('clusters');
CREATE TRIGGER cluster_backends_changed AFTER INSERT OR UPDATE OR DELETE ON cluster_backends
  FOR EACH STATEMENT EXECUTE FUNCTION look_again('cluster_backends');
CREATE TRIGGER cluster_status_changed AFTER INSERT OR UPDATE OR DELETE ON cluster_status
  FOR EACH STATEMENT EXECUTE FUNCTION look_again('cluster_status');
CREATE TRIGGER certificate_requests_new AFTER INSERT ON certificate_requests
  FOR EACH STATEMENT EXECUTE FUNCTION look_again('certificate_requests');
CREATE TRIGGER certificate_requests_answered AFTER UPDATE ON certificate_requests
  FOR EACH STATEMENT EXECUTE FUNCTION look_again('certificates');

-- A change of who may do what is a change of what is wanted: the provisioner sees a new generation and pushes.
CREATE FUNCTION access_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE clusters SET generation = generation + 1 WHERE id = NEW.cluster_id;
  RETURN NULL;
END $$;
CREATE TRIGGER access_entries_changed AFTER INSERT OR UPDATE OF role, revoked_at ON access_entries
  FOR EACH ROW EXECUTE FUNCTION access_changed();
CREATE TRIGGER certificates_revoked AFTER UPDATE OF revoked_at ON certificates
  FOR EACH ROW WHEN (OLD.revoked_at IS DISTINCT FROM NEW.revoked_at) EXECUTE FUNCTION access_changed();

-- A label that was given once stays taken.
CREATE FUNCTION take_label() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  INSERT INTO used_labels (label) VALUES (NEW.label);
  RETURN NEW;
END $$;
CREATE TRIGGER clusters_take_label BEFORE INSERT ON clusters
  FOR EACH ROW EXECUTE FUNCTION take_label();

-- ── Grants ───────────────────────────────────────────────────────────────────────────────────────────
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO cloud_portal, cloud_signer, cloud_provisioner, cloud_gateway;

GRANT SELECT, INSERT, UPDATE, DELETE ON users, email_links, sessions, refresh_tokens, organisations,
  memberships, api_tokens, idempotency_keys TO cloud_portal;
GRANT SELECT, INSERT, UPDATE ON clusters, access_entries TO cloud_portal;
GRANT SELECT ON cluster_status, cluster_backends, usage, certificate_requests, certificates, audit_events TO cloud_portal;
GRANT SELECT (id, cluster_id, purpose, certificate_der, created_at, not_after) ON certificate_authorities TO cloud_portal;
GRANT INSERT (id, cluster_id, kind, principal_id, label, csr_der, lifetime_seconds) ON certificate_requests TO cloud_portal;
GRANT UPDATE (revoked_at, revoked_by) ON certificates TO cloud_portal;
GRANT INSERT ON audit_events TO cloud_portal;

GRANT SELECT ON clusters, access_entries, certificate_requests TO cloud_signer;
GRANT UPDATE (state, refusal) ON certificate_requests TO cloud_signer;
GRANT SELECT, INSERT ON certificate_authorities, certificates TO cloud_signer;
GRANT UPDATE (certificate_der) ON certificates TO cloud_signer;

GRANT SELECT ON clusters, access_entries, certificate_requests, certificates TO cloud_provisioner;
GRANT UPDATE (host) ON clusters TO cloud_provisioner;
GRANT DELETE ON clusters TO cloud_provisioner;
GRANT SELECT, INSERT, UPDATE, DELETE ON cluster_status, cluster_backends, leases TO cloud_provisioner;
GRANT SELECT (id, cluster_id, purpose, certificate_der, created_at, not_after) ON certificate_authorities TO cloud_provisioner;
GRANT INSERT (id, cluster_id, kind, label, csr_der, lifetime_seconds) ON certificate_requests TO cloud_provisioner;
GRANT INSERT ON audit_events TO cloud_provisioner;

-- The gateway sees routes and limits, and nobody's names.
GRANT SELECT (id, domain, max_connections, deleted_at, generation) ON clusters TO cloud_gateway;
GRANT SELECT ON cluster_backends TO cloud_gateway;
GRANT SELECT, INSERT, UPDATE ON usage TO cloud_gateway;
