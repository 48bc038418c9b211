//! What tokens open, and above all what they do not.
#![allow(clippy::unwrap_used)]

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    rsa::KeySize,
    signature::{self as sig, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use edge::token::{Identity, TokenConfig, TokenError, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use wire::auth::user_id;

const NOW_S: u64 = 1_800_000_000;
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "posthorn";

struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

fn ed25519(kid: &str) -> Signer {
    let pair = sig::Ed25519KeyPair::generate().unwrap();
    let x = BASE64.encode(pair.public_key().as_ref());
    Signer {
        algorithm: Algorithm::EdDSA,
        key: EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref()),
        jwk: json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": x }),
    }
}

fn es256(kid: &str) -> Signer {
    let pair = sig::EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
    Signer {
        algorithm: Algorithm::ES256,
        key: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()),
        jwk: json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": x, "y": y }),
    }
}

fn rs256(kid: &str) -> Signer {
    let pair = sig::RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let n = BASE64.encode(pair.public_key().modulus().big_endian_without_leading_zero());
    let e = BASE64.encode(pair.public_key().exponent().big_endian_without_leading_zero());
    let pkcs8 = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair);
    Signer {
        algorithm: Algorithm::RS256,
        key: EncodingKey::from_rsa_der(&rsa_private_key(pkcs8.unwrap().as_ref())),
        jwk: json!({ "kty": "RSA", "kid": kid, "n": n, "e": e }),
    }
}

/// The `RSAPrivateKey` inside PKCS #8: the last element, an octet string with a two-byte length.
fn rsa_private_key(pkcs8: &[u8]) -> Vec<u8> {
    let at = pkcs8.windows(2).position(|pair| pair == [0x04, 0x82]).unwrap();
    pkcs8[at + 4..].to_vec()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "exp": NOW_S + 600, "nbf": NOW_S - 10,
    })
}

impl Signer {
    fn kid(&self) -> &str {
        self.jwk["kid"].as_str().unwrap()
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.kid().to_owned()), ..Header::new(self.algorithm) }
    }

    fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).unwrap()
    }
}

fn key_set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| &signer.jwk).collect::<Vec<_>>() }).to_string()
}

fn verifier(jwks: &str) -> Verifier {
    let config = TokenConfig {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        jwks: jwks.to_owned(),
        jwks_ca_file: None,
    };
    Verifier::new(&config, || NOW_S * 1000)
}

fn verifier_of(folder: &Path, signers: &[&Signer]) -> Verifier {
    let path = folder.join("jwks.json");
    std::fs::write(&path, key_set(signers)).unwrap();
    verifier(path.to_str().unwrap())
}

fn invalid(outcome: Result<Identity, TokenError>) -> &'static str {
    match outcome {
        Err(TokenError::Invalid(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn each_of_the_three_algorithms_names_the_user_of_issuer_and_subject() {
    let folder = tempfile::tempdir().unwrap();
    let signers = [ed25519("ed"), es256("ec"), rs256("rsa")];
    let verifier = verifier_of(folder.path(), &signers.each_ref());
    for signer in &signers {
        let identity = verifier.verify(&signer.sign(&claims())).await.unwrap();
        assert_eq!(identity.user, user_id(ISSUER, "alice"));
        assert_eq!(identity.expires_ms, (NOW_S + 600) * 1000);
    }
}

#[tokio::test]
async fn every_claim_is_required_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let signer = ed25519("ed");
    let verifier = verifier_of(folder.path(), &[&signer]);
    for (claim, value) in [
        ("iss", Value::Null),
        ("iss", json!("https://other.example")),
        ("iss", json!([ISSUER, "https://other.example"])),
        ("aud", Value::Null),
        ("aud", json!("someone-else")),
        ("aud", json!([])),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("exp", Value::Null),
        ("exp", json!(NOW_S - 60)),
        ("exp", json!("tomorrow")),
        ("exp", json!(-1)),
        ("exp", json!(1e300)),
        ("nbf", Value::Null),
        ("nbf", json!(NOW_S + 61)),
        ("nbf", json!("yesterday")),
    ] {
        let mut changed = claims();
        changed[claim] = value.clone();
        let without_null = changed.as_object_mut().unwrap();
        without_null.retain(|_, value| !value.is_null());
        let outcome = verifier.verify(&signer.sign(&changed)).await;
        assert!(matches!(outcome, Err(TokenError::Invalid(_))), "{claim} = {value}: {outcome:?}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let folder = tempfile::tempdir().unwrap();
    let signer = ed25519("ed");
    let verifier = verifier_of(folder.path(), &[&signer]);
    for (claim, value) in [("exp", json!(NOW_S - 59)), ("nbf", json!(NOW_S + 60))] {
        let mut changed = claims();
        changed[claim] = value;
        verifier.verify(&signer.sign(&changed)).await.unwrap();
    }
}

#[tokio::test]
async fn the_audience_may_be_one_of_several() {
    let folder = tempfile::tempdir().unwrap();
    let signer = ed25519("ed");
    let verifier = verifier_of(folder.path(), &[&signer]);
    let mut changed = claims();
    changed["aud"] = json!(["other", AUDIENCE]);
    verifier.verify(&signer.sign(&changed)).await.unwrap();
}

#[tokio::test]
async fn a_token_cannot_choose_its_algorithm() {
    let folder = tempfile::tempdir().unwrap();
    let signer = rs256("rsa");
    let verifier = verifier_of(folder.path(), &[&signer]);
    let part = |value: &Value| BASE64.encode(value.to_string());
    let unsigned =
        format!("{}.{}.", part(&json!({ "alg": "none", "kid": "rsa" })), part(&claims()));
    invalid(verifier.verify(&unsigned).await);

    // The public key, in every form an attacker has it, as the secret of a symmetric signature.
    let secrets = [signer.jwk["n"].as_str().unwrap().to_owned(), signer.jwk.to_string()];
    for secret in secrets {
        let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(secret.as_bytes());
        invalid(verifier.verify(&encode(&header, &claims(), &key).unwrap()).await);
    }
    // Another algorithm with the very same key.
    let header = Header { kid: Some("rsa".to_owned()), ..Header::new(Algorithm::RS512) };
    invalid(verifier.verify(&encode(&header, &claims(), &signer.key).unwrap()).await);
}

#[tokio::test]
async fn a_symmetric_key_in_the_set_verifies_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let signer = ed25519("ed");
    let path = folder.path().join("jwks.json");
    let secret = b"0123456789abcdef0123456789abcdef";
    let oct = json!({ "kty": "oct", "kid": "oct", "k": BASE64.encode(secret) });
    std::fs::write(&path, json!({ "keys": [oct, signer.jwk] }).to_string()).unwrap();
    let verifier = verifier(path.to_str().unwrap());
    let header = Header { kid: Some("oct".to_owned()), ..Header::new(Algorithm::HS256) };
    let token = encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
    invalid(verifier.verify(&token).await);
    verifier.verify(&signer.sign(&claims())).await.unwrap();
}

#[tokio::test]
async fn keys_that_come_with_the_token_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (known, attacker) = (ed25519("known"), ed25519("known"));
    let verifier = verifier_of(folder.path(), &[&known]);
    let server = Server::start(key_set(&[&attacker]));
    for extra in
        [json!({ "jku": server.url }), json!({ "x5u": server.url }), json!({ "jwk": attacker.jwk })]
    {
        let mut header = json!({ "alg": "EdDSA", "kid": "known" });
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let header: Header = serde_json::from_value(header).unwrap();
        let token = encode(&header, &claims(), &attacker.key).unwrap();
        invalid(verifier.verify(&token).await);
    }
    assert_eq!(server.fetched(), 0);
}

#[tokio::test]
async fn a_critical_header_nobody_knows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let signer = ed25519("ed");
    let verifier = verifier_of(folder.path(), &[&signer]);
    let header = Header { crit: Some(vec!["exp".to_owned()]), ..signer.header() };
    invalid(verifier.verify(&encode(&header, &claims(), &signer.key).unwrap()).await);
}

#[tokio::test]
async fn garbage_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let signer = ed25519("ed");
    let verifier = verifier_of(folder.path(), &[&signer]);
    let good = signer.sign(&claims());
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    for token in ["", ".", "..", "a.b.c", unsigned, &format!("{good}x"), &"a".repeat(9_000)] {
        invalid(verifier.verify(token).await);
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_make_one_fetch_in_thirty_seconds() {
    let (known, unknown) = (ed25519("known"), ed25519("unknown"));
    let server = Server::start(key_set(&[&known]));
    let verifier = verifier(&server.url);
    verifier.verify(&known.sign(&claims())).await.unwrap();
    assert_eq!(server.fetched(), 1);
    for _ in 0..100 {
        invalid(verifier.verify(&unknown.sign(&claims())).await);
    }
    assert_eq!(server.fetched(), 1);
    tokio::time::advance(Duration::from_secs(31)).await;
    server.serve(key_set(&[&known, &unknown]));
    verifier.verify(&unknown.sign(&claims())).await.unwrap();
    assert_eq!(server.fetched(), 2);
}

#[tokio::test(start_paused = true)]
async fn callers_that_come_together_share_one_fetch() {
    let known = ed25519("known");
    let server = Server::start(key_set(&[&known]));
    let verifier = verifier(&server.url);
    let token = known.sign(&claims());
    let all = (0..20).map(|_| verifier.verify(&token));
    for outcome in futures_util::future::join_all(all).await {
        outcome.unwrap();
    }
    assert_eq!(server.fetched(), 1);
}

#[tokio::test(start_paused = true)]
async fn old_keys_stay_whatever_the_source_says_instead() {
    let (known, unknown) = (ed25519("known"), ed25519("unknown"));
    let server = Server::start(key_set(&[&known]));
    let verifier = verifier(&server.url);
    verifier.verify(&known.sign(&claims())).await.unwrap();
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(10 << 20));
    for body in ["", "<html>", "{}", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"RSA\"}]}", &large] {
        server.serve(body.to_owned());
        tokio::time::advance(Duration::from_secs(31)).await;
        invalid(verifier.verify(&unknown.sign(&claims())).await);
        verifier.verify(&known.sign(&claims())).await.unwrap();
        assert!(verifier.refresh().await.is_err(), "{}", &body[..body.len().min(40)]);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let known = ed25519("known");
    let elsewhere = Server::start(key_set(&[&known]));
    let server = Server::start(String::new());
    server.answer(format!("HTTP/1.1 302 Found\r\nlocation: {}\r\n\r\n", elsewhere.url));
    let verifier = verifier(&server.url);
    let outcome = verifier.verify(&known.sign(&claims())).await;
    assert_eq!(outcome, Err(TokenError::Unavailable));
    assert_eq!((server.fetched(), elsewhere.fetched()), (1, 0));
}

#[tokio::test]
async fn plain_http_is_only_for_this_machine() {
    let verifier = verifier("http://id.example/jwks");
    assert!(verifier.refresh().await.is_err());
}

#[tokio::test]
async fn without_any_keys_nobody_is_called_invalid() {
    let known = ed25519("known");
    let verifier = verifier("/nowhere/jwks.json");
    let outcome = verifier.verify(&known.sign(&claims())).await;
    assert_eq!(outcome, Err(TokenError::Unavailable));
}

#[tokio::test]
async fn no_more_keys_than_the_limit_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let signers: Vec<Signer> = (0..65).map(|n| ed25519(&n.to_string())).collect();
    let verifier = verifier_of(folder.path(), &signers.iter().collect::<Vec<_>>());
    verifier.verify(&signers[63].sign(&claims())).await.unwrap();
    invalid(verifier.verify(&signers[64].sign(&claims())).await);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (ed25519("old"), ed25519("new"));
    let verifier = verifier_of(folder.path(), &[&old]);
    verifier.verify(&old.sign(&claims())).await.unwrap();
    std::fs::write(folder.path().join("jwks.json"), key_set(&[&new])).unwrap();
    tokio::time::advance(Duration::from_secs(31)).await;
    verifier.verify(&new.sign(&claims())).await.unwrap();
    invalid(verifier.verify(&old.sign(&claims())).await);
}

/// An HTTP server on this machine that says one thing and counts how often it was asked.
struct Server {
    url: String,
    answer: Arc<std::sync::Mutex<String>>,
    fetched: Arc<AtomicUsize>,
}

impl Server {
    fn start(body: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}/jwks", listener.local_addr().unwrap().port());
        let answer = Arc::new(std::sync::Mutex::new(String::new()));
        let fetched = Arc::new(AtomicUsize::new(0));
        let (says, counts) = (answer.clone(), fetched.clone());
        // Ends with the process: accepting cannot be interrupted.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0)
                {
                    request.push(byte[0]);
                }
                counts.fetch_add(1, Ordering::SeqCst);
                let answer = says.lock().unwrap().clone();
                // A client that has read enough goes away in the middle of it.
                stream.write_all(answer.as_bytes()).ok();
            }
        });
        let server = Self { url, answer, fetched };
        server.serve(body);
        server
    }

    fn serve(&self, body: String) {
        let len = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n");
        self.answer(head + &body);
    }

    fn answer(&self, answer: String) {
        *self.answer.lock().unwrap() = answer;
    }

    fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }
}
