//! The order of the rows, against a real Postgres and under the program's own database roles.

use sqlx::{PgPool, Row};
use uuid::Uuid;

use super::openssl::{OpenSsl, P256};
use crate::policy::decide;
use crate::seal::{Owner, SealError, Sealer};
use crate::serve::{Tally, pass};
use crate::store::{self, Release};
use test_postgres::Postgres;

struct World {
    _server: Postgres,
    owner: PgPool,
    portal: PgPool,
    provisioner: PgPool,
    signer: PgPool,
    openssl: OpenSsl,
    sealer: Sealer,
    user: Uuid,
    organisation: Uuid,
}

impl World {
    async fn new() -> Self {
        let server = Postgres::start().await;
        let owner = server.connect("postgres").await;
        let user =
            id(&owner, "INSERT INTO users (email, password_hash) VALUES ('a@example.com', '') RETURNING id")
                .await;
        let organisation = id(&owner, "INSERT INTO organisations (name) VALUES ('a') RETURNING id").await;
        Self {
            portal: server.connect("cloud_portal").await,
            provisioner: server.connect("cloud_provisioner").await,
            signer: server.connect("cloud_signer").await,
            owner,
            openssl: OpenSsl::new(),
            sealer: Sealer::new(&[7; 32]).unwrap(),
            user,
            organisation,
            _server: server,
        }
    }

    async fn cluster(&self, name: &str) -> Uuid {
        sqlx::query(
            "INSERT INTO clusters (organisation_id, name, label, domain, runtime, region)
             VALUES ($1, $2, $2, $2 || '.fluvio.localhost', 'process', 'local') RETURNING id",
        )
        .bind(self.organisation)
        .bind(name)
        .fetch_one(&self.portal)
        .await
        .unwrap()
        .get(0)
    }

    async fn principal(&self, cluster: Uuid) -> Uuid {
        sqlx::query(
            "INSERT INTO access_entries (cluster_id, user_id, role) VALUES ($1, $2, 'admin') RETURNING principal_id",
        )
        .bind(cluster)
        .bind(self.user)
        .fetch_one(&self.portal)
        .await
        .unwrap()
        .get(0)
    }

    async fn ask(&self, pool: &PgPool, cluster: Uuid, kind: &str, principal: Option<Uuid>) -> Uuid {
        let csr = self.openssl.request(&P256, &[]);
        self.ask_with(pool, cluster, kind, principal, csr).await.unwrap()
    }

    async fn ask_with(
        &self,
        pool: &PgPool,
        cluster: Uuid,
        kind: &str,
        principal: Option<Uuid>,
        csr: Vec<u8>,
    ) -> Result<Uuid, sqlx::Error> {
        let request = Uuid::new_v4();
        // The provisioner's role may not even name the column of the principal.
        let query = match principal {
            Some(principal) => sqlx::query(
                "INSERT INTO certificate_requests (id, cluster_id, kind, csr_der, lifetime_seconds, principal_id)
                 VALUES ($1, $2, $3, $4, 86400, $5)",
            )
            .bind(request)
            .bind(cluster)
            .bind(kind)
            .bind(csr)
            .bind(principal),
            None => sqlx::query(
                "INSERT INTO certificate_requests (id, cluster_id, kind, csr_der, lifetime_seconds)
                 VALUES ($1, $2, $3, $4, 86400)",
            )
            .bind(request)
            .bind(cluster)
            .bind(kind)
            .bind(csr),
        };
        query.execute(pool).await?;
        Ok(request)
    }

    async fn pass(&self) -> Tally {
        pass(&self.signer, &self.sealer).await.unwrap()
    }

    async fn state(&self, request: Uuid) -> (String, Option<String>) {
        let row = sqlx::query("SELECT state, refusal FROM certificate_requests WHERE id = $1");
        let row = row.bind(request).fetch_one(&self.owner).await.unwrap();
        (row.get(0), row.get(1))
    }

    async fn certificate(&self, request: Uuid) -> Option<Vec<u8>> {
        let row = sqlx::query("SELECT certificate_der FROM certificates WHERE request_id = $1");
        row.bind(request).fetch_optional(&self.owner).await.unwrap().and_then(|row| row.get(0))
    }

    async fn count(&self, text: &'static str) -> i64 {
        sqlx::query(text).fetch_one(&self.owner).await.unwrap().get(0)
    }
}

async fn id(pool: &PgPool, text: &'static str) -> Uuid {
    sqlx::query(text).fetch_one(pool).await.unwrap().get(0)
}

const ISSUED: Tally = Tally { issued: 1, refused: 0, failed: 0 };
const REFUSED: Tally = Tally { issued: 0, refused: 1, failed: 0 };

#[tokio::test]
async fn a_request_is_answered_once_and_a_settled_world_is_left_alone() {
    let world = World::new().await;
    let cluster = world.cluster("blue").await;
    let server = world.ask(&world.provisioner, cluster, "server", None).await;
    assert_eq!(world.pass().await, ISSUED);
    assert_eq!(world.state(server).await, ("issued".into(), None));
    let principal = world.principal(cluster).await;
    let client = world.ask(&world.portal, cluster, "client", Some(principal)).await;
    assert_eq!(world.pass().await, ISSUED);
    assert!(world.certificate(client).await.is_some());
    assert_eq!(world.count("SELECT count(*) FROM certificate_authorities").await, 3);
    assert_eq!(world.pass().await, Tally::default());
}

#[tokio::test]
async fn the_database_and_the_signer_refuse_what_the_asker_may_not_have() {
    let world = World::new().await;
    let cluster = world.cluster("blue").await;
    let csr = world.openssl.request(&P256, &[]);
    let forged = world.ask_with(&world.portal, cluster, "server", None, csr).await;
    assert!(forged.is_err(), "the portal may not even ask for a server's certificate");
    // A foreign cluster's principal.
    let other = world.cluster("red").await;
    let principal = world.principal(other).await;
    let request = world.ask(&world.portal, cluster, "client", Some(principal)).await;
    assert_eq!(world.pass().await, REFUSED);
    assert!(world.state(request).await.1.unwrap().contains("taken back"));
    // A principal that was revoked.
    let request = world.ask(&world.portal, other, "client", Some(principal)).await;
    sqlx::query("UPDATE access_entries SET revoked_at = now()").execute(&world.portal).await.unwrap();
    assert_eq!(world.pass().await, REFUSED);
    assert_eq!(world.certificate(request).await, None);
    // Not a CSR.
    let request = world.ask_with(&world.provisioner, cluster, "server", None, vec![1, 2, 3]).await.unwrap();
    assert_eq!(world.pass().await, REFUSED);
    assert!(world.state(request).await.1.unwrap().contains("not a signing request"));
}

#[tokio::test]
async fn what_a_crash_left_between_row_and_release_is_completed_with_the_same_serial() {
    let world = World::new().await;
    let cluster = world.cluster("blue").await;
    let id = world.ask(&world.provisioner, cluster, "server", None).await;
    let request = store::read(&world.signer, id).await.unwrap().unwrap();
    let grant = decide(&request).unwrap();
    let kept = store::authority(&world.signer, &world.sealer, &request).await.unwrap();
    let terms = store::record(&world.signer, &request, &grant, kept.not_after).await.unwrap();
    assert_eq!(world.certificate(id).await, None, "the row is there before the signature");
    // Here the signer died.
    assert_eq!(world.pass().await, ISSUED);
    let der = world.certificate(id).await.unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert_eq!(leaf.serial.to_bytes_be(), terms.serial);
    assert_eq!(world.count("SELECT count(*) FROM certificates").await, 1);
    // A second signer that was as far comes too late.
    assert_eq!(store::release(&world.signer, &request, b"late").await.unwrap(), Release::Overtaken);
    assert_eq!(world.certificate(id).await.unwrap(), der);
}

#[tokio::test]
async fn nothing_is_released_to_a_principal_revoked_during_the_signature() {
    let world = World::new().await;
    let cluster = world.cluster("blue").await;
    let principal = world.principal(cluster).await;
    let id = world.ask(&world.portal, cluster, "client", Some(principal)).await;
    let request = store::read(&world.signer, id).await.unwrap().unwrap();
    let grant = decide(&request).unwrap();
    let kept = store::authority(&world.signer, &world.sealer, &request).await.unwrap();
    store::record(&world.signer, &request, &grant, kept.not_after).await.unwrap();
    sqlx::query("UPDATE access_entries SET revoked_at = now()").execute(&world.portal).await.unwrap();
    assert_eq!(store::release(&world.signer, &request, b"der").await.unwrap(), Release::Overtaken);
    assert_eq!(world.certificate(id).await, None);
    assert_eq!(world.pass().await, REFUSED);
}

#[tokio::test]
async fn two_signers_at_once_make_one_authority_and_one_certificate_a_request() {
    let world = World::new().await;
    let cluster = world.cluster("blue").await;
    let mut requests = Vec::new();
    for _ in 0..8 {
        requests.push(world.ask(&world.provisioner, cluster, "server", None).await);
    }
    let (one, two) = tokio::join!(world.pass(), world.pass());
    assert_eq!((one.issued + two.issued, one.failed + two.failed), (8, 0));
    assert_eq!(world.count("SELECT count(*) FROM certificate_authorities").await, 3);
    assert_eq!(world.count("SELECT count(*) FROM certificates WHERE certificate_der IS NOT NULL").await, 8);
}

#[tokio::test]
async fn swapped_sealed_keys_do_not_open_and_hold_up_nobody_else() {
    let world = World::new().await;
    let (blue, red, green) =
        (world.cluster("blue").await, world.cluster("red").await, world.cluster("green").await);
    for cluster in [blue, red] {
        world.ask(&world.provisioner, cluster, "server", None).await;
    }
    assert_eq!(world.pass().await.issued, 2);
    sqlx::query(
        "UPDATE certificate_authorities a SET sealed_key = b.sealed_key FROM certificate_authorities b
         WHERE a.purpose = 'server' AND b.purpose = 'server' AND a.cluster_id <> b.cluster_id",
    )
    .execute(&world.owner)
    .await
    .unwrap();
    let kept = sqlx::query(
        "SELECT sealed_key FROM certificate_authorities WHERE cluster_id = $1 AND purpose = 'server'",
    );
    let sealed: Vec<u8> = kept.bind(blue).fetch_one(&world.owner).await.unwrap().get(0);
    let owner = Owner { tenant: world.organisation, cluster: blue, purpose: crate::policy::Kind::Server };
    assert_eq!(world.sealer.open(&owner, &sealed), Err(SealError::Unauthentic));
    world.ask(&world.provisioner, blue, "server", None).await;
    let other = world.ask(&world.provisioner, green, "server", None).await;
    assert_eq!(world.pass().await, Tally { issued: 1, refused: 0, failed: 1 });
    assert!(world.certificate(other).await.is_some());
}

#[tokio::test]
async fn the_portal_cannot_read_a_sealed_key_or_write_a_certificate() {
    let world = World::new().await;
    for forbidden in [
        "SELECT sealed_key FROM certificate_authorities",
        "UPDATE certificates SET certificate_der = ''",
        "UPDATE certificate_requests SET state = 'issued'",
        "INSERT INTO certificate_requests (cluster_id, kind, requested_by, csr_der, lifetime_seconds)
         VALUES (gen_random_uuid(), 'server', 'cloud_provisioner', '', 60)",
    ] {
        for pool in [&world.portal, &world.provisioner] {
            let refused = sqlx::query(forbidden).execute(pool).await.unwrap_err();
            assert!(refused.to_string().contains("permission denied"), "{forbidden}: {refused}");
        }
    }
}
