use e2e::cloud::Cloud;
use e2e::raw::{self, Cut};
use e2e::tenant::Tenant;
use e2e::wire;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, SanType};
use serde_json::json;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

fn pem_to_der(pem: &str) -> anyhow::Result<Vec<u8>> {
    use rustls::pki_types::pem::PemObject;
    Ok(rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes())?.to_vec())
}

async fn refused(tenant: &Tenant, what: &str, csr: &str) -> anyhow::Result<()> {
    let answer = tenant.person.request_certificate(&tenant.cluster.id, &json!({"csr": csr})).await?;
    assert!(answer.status.is_client_error(), "{what} was answered {}: {}", answer.status, answer.text());
    let problem = answer.json()?;
    assert!(
        problem["fix"].as_str().is_some_and(|fix| !fix.is_empty()),
        "{what}: no way out is told: {problem}"
    );
    Ok(())
}

/// Each was made with `openssl req`, and cannot be made with rcgen: a key or a signature that is not taken.
const BAD_KEYS: [(&str, &[&str]); 4] = [
    ("RSA with 1024 bits", &["-newkey", "rsa:1024"]),
    ("RSA with 2048 bits", &["-newkey", "rsa:2048"]),
    ("P-224", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-224"]),
    ("P-256 signed with SHA-384", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha384"]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_or_signature_that_is_not_taken_is_refused_with_a_way_out() -> anyhow::Result<()> {
    let tenant = Tenant::new(Cloud::shared()?).await?;
    for (what, arguments) in BAD_KEYS {
        let output = std::process::Command::new("openssl")
            .args(["req", "-new", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=x"])
            .args(arguments)
            .output()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        refused(&tenant, what, std::str::from_utf8(&output.stdout)?).await?;
    }
    let key = KeyPair::generate()?;
    let good = CertificateParams::new(Vec::<String>::new())?.serialize_request(&key)?;
    let mut der = good.der().to_vec();
    // The last bytes are the signature's.
    *der.last_mut().expect("a CSR has bytes") ^= 1;
    let text = |der: &[u8]| {
        use base64::Engine;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
    };
    refused(&tenant, "a signature with a flipped bit", &text(&der)).await?;
    refused(&tenant, "half a CSR", &text(&good.der()[..good.der().len() / 2])).await?;
    refused(&tenant, "nothing", "").await?;
    refused(&tenant, "no PEM", "hello").await?;
    refused(&tenant, "a megabyte", &text(&vec![0x30; 1 << 20])).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_csr_gives_its_key_and_nothing_else() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let (tenant, other) = (Tenant::new(cloud).await?, Tenant::new(cloud).await?);
    let theirs = pem_to_der(&other.credentials()?.certificate)?;
    let (_, theirs) = X509Certificate::from_der(&theirs)?;
    let their_uri = uris(&theirs)?.remove(0);

    let key = KeyPair::generate()?;
    let mut wish = CertificateParams::new(vec![other.cluster.domain.clone(), "*.example.com".to_string()])?;
    wish.subject_alt_names.push(SanType::URI(their_uri.as_str().try_into()?));
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "root");
    name.push(DnType::OrganizationName, "o".repeat(3000));
    wish.distinguished_name = name;
    let request = wish.serialize_request(&key)?.pem()?;
    let answer = tenant.person.request_certificate(&tenant.cluster.id, &json!({"csr": request})).await?;
    if answer.status.is_client_error() {
        // Refusing such a wish is as good as not fulfilling it.
        return Ok(());
    }
    let issued = answer.expect(201)?.json()?;
    let der = pem_to_der(issued["certificate"].as_str().expect("a PEM"))?;
    let (_, certificate) = X509Certificate::from_der(&der)?;
    assert!(!certificate.is_ca());
    let found = uris(&certificate)?;
    assert_eq!(found.len(), 1, "exactly one principal: {found:?}");
    assert!(found[0].contains(&tenant.cluster.id), "{found:?}");
    assert_ne!(found[0], their_uri);
    let names = certificate.subject_alternative_name()?.expect("it has names");
    assert_eq!(names.value.general_names.len(), 1, "no DNS names");
    assert!(!certificate.subject().to_string().contains("root"));
    let usage = certificate.extended_key_usage()?.expect("its use is said");
    assert!(usage.value.client_auth && !usage.value.server_auth);
    assert!(der.len() < 2000, "nothing of the long name");
    Ok(())
}

fn uris(certificate: &X509Certificate<'_>) -> anyhow::Result<Vec<String>> {
    let names = certificate
        .subject_alternative_name()?
        .map(|each| each.value.general_names.clone())
        .unwrap_or_default();
    Ok(names
        .iter()
        .filter_map(|name| if let GeneralName::URI(uri) = name { Some((*uri).to_string()) } else { None })
        .collect())
}

/// Certificates that a stranger can make, each with the tenant's own principal copied in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_ones_own_making_opens_nothing() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let who = tenant.credentials()?;
    let der = pem_to_der(&who.certificate)?;
    let (_, own) = X509Certificate::from_der(&der)?;
    let uri = uris(&own)?.remove(0);

    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
    params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    let self_signed = params.self_signed(&key)?.pem();

    // Signed by an authority with the right name and a wrong key.
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::<String>::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut issuer_name = DistinguishedName::new();
    let common = own.issuer().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or("ca");
    issuer_name.push(DnType::CommonName, common);
    authority.distinguished_name = issuer_name;
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let look_alike = params.signed_by(&key, &issuer)?.pem();

    // Signed by the tenant's own client certificate, as if that were an authority; sent with it as a chain.
    let leaf_key = KeyPair::from_pem(&who.key)?;
    let leaf = rcgen::Issuer::from_ca_cert_pem(&who.certificate, leaf_key)?;
    let grandchild = params.signed_by(&key, &leaf)?.pem() + &who.certificate;

    for (what, chain) in
        [("self-signed", self_signed), ("look-alike authority", look_alike), ("grandchild", grandchild)]
    {
        for name in [who.domain.clone(), format!("main-0.{}", who.domain)] {
            let config = raw::configuration(&who.ca, Some((&chain, &key.serialize_pem())))?;
            let served = raw::connect(cloud.gateway()?, &name, config, Cut::Whole).is_ok_and(|mut stream| {
                wire::send(&mut stream, &wire::api_versions(1)).is_ok()
                    && wire::receive(&mut stream).ok().flatten().is_some()
            });
            assert!(!served, "{what} at {name}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_download_gives_a_working_profile_and_keeps_ten_alive() -> anyhow::Result<()> {
    let cloud = Cloud::shared()?;
    let tenant = Tenant::new(cloud).await?;
    let body = json!({"email": tenant.person.email, "password": tenant.person.password});
    let visitor = e2e::visitor::Visitor::of(cloud);
    // The published wheel sends its JSON under this type.
    let mut ask = e2e::http::Ask::new(hyper::Method::POST, "/api/v1/loginUser");
    ask = ask.header("content-type", "text/plain;charset=utf-8");
    ask.body = body.to_string().into();
    let login = visitor.ask(ask).await?.expect(200)?.json()?;
    let token = login["token"].as_str().expect("a token");
    let mut last = None;
    for _ in 0..12 {
        let ask = e2e::http::Ask::get("/api/v1/downloadProfile").header("authorization", token);
        last = Some(visitor.ask(ask).await?.expect(200)?.json()?);
    }
    let profile: fluvio::FluvioClusterConfig = serde_json::from_value(last.expect("a profile"))?;
    let connected = fluvio::Fluvio::connect_with_config(&profile);
    e2e::wait::within("the newest works", e2e::stream::STEP_WITHIN, connected).await?;
    let live = tenant.person.certificates(&tenant.cluster.id).await?;
    let live = live.iter().filter(|each| each["revoked_at"].is_null()).count();
    // Ten of these, and the one of `fluvio cloud login`.
    assert_eq!(live, 11);
    Ok(())
}
