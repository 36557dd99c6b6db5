//! Signed tokens: what a member has signed, every member believes.
//!
//! `--auth-token jwt,pub-key=FILE,priv-key=FILE,sign-method=METHOD,ttl=5m`, as etcd has it. The
//! claims are etcd's too, so that whoever has the private key can make tokens himself:
//!
//! ```text
//!   { "username": "alice", "revision": 7, "exp": 1700000000 }
//! ```
//!
//! A token is as old as its revision: after a change of users the client gets itself a new one. A
//! member that has the public key alone believes tokens, and gives none.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use drystone_kv::Caller;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

const TTL_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// Signs tokens and believes them.
pub(crate) struct Jwt {
    method: Algorithm,
    signs: Option<EncodingKey>,
    believes: DecodingKey,
    ttl: Duration,
}

/// Keys are not for logs.
impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwt({:?}, {:?})", self.method, self.ttl)
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    exp: u64,
}

impl Jwt {
    /// As the words behind `jwt,` have it.
    ///
    /// # Errors
    ///
    /// If they cannot be understood, or a key cannot be read.
    pub(crate) fn new(words: &str) -> Result<Jwt, String> {
        let mut options = HashMap::new();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').ok_or("auth: invalid auth options")?;
            if options.insert(name, value).is_some() {
                return Err(format!("auth: invalid auth options: {name} is given twice"));
            }
        }
        let method = options.remove("sign-method").ok_or("auth: invalid auth token method")?;
        let method = match method {
            "EdDSA" | "Ed25519" => Algorithm::EdDSA,
            other => other.parse().map_err(|_| "auth: invalid auth token method".to_owned())?,
        };
        let ttl = options.remove("ttl").map_or(Ok(TTL_DEFAULT), crate::config::duration_of)?;
        let read = |path: Option<&str>| {
            let read = |path| std::fs::read(path).map_err(|error| format!("{path}: {error}"));
            path.map(read).transpose()
        };
        let private = read(options.remove("priv-key"))?;
        let public = read(options.remove("pub-key"))?;
        if let Some(name) = options.keys().next() {
            return Err(format!("auth: invalid auth options: {name}"));
        }
        Jwt::with_keys(method, private.as_deref(), public.as_deref(), ttl)
    }

    fn with_keys(
        method: Algorithm,
        private: Option<&[u8]>,
        public: Option<&[u8]>,
        ttl: Duration,
    ) -> Result<Jwt, String> {
        let bad =
            |error: jsonwebtoken::errors::Error| format!("auth: invalid auth options: {error}");
        let (signs, believes) = match method.family() {
            AlgorithmFamily::Hmac => {
                let secret = private.or(public).ok_or("auth: missing priv-key for the tokens")?;
                (Some(EncodingKey::from_secret(secret)), DecodingKey::from_secret(secret))
            }
            family => {
                let public = public.ok_or("auth: missing pub-key for the tokens")?;
                let (sign, believe): (KeyOf<EncodingKey>, KeyOf<DecodingKey>) = match family {
                    AlgorithmFamily::Ec => (EncodingKey::from_ec_pem, DecodingKey::from_ec_pem),
                    AlgorithmFamily::Ed => (EncodingKey::from_ed_pem, DecodingKey::from_ed_pem),
                    _ => (EncodingKey::from_rsa_pem, DecodingKey::from_rsa_pem),
                };
                (private.map(sign).transpose().map_err(bad)?, believe(public).map_err(bad)?)
            }
        };
        Ok(Jwt { method, signs, believes, ttl })
    }

    /// A token for `user`, who was recognised at this auth revision; `None` without the private
    /// key.
    pub(crate) fn sign(&self, user: &str, revision: u64) -> Option<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let exp = (now + self.ttl).as_secs();
        self.sign_claims(&Claims { username: user.to_owned(), revision, exp })
    }

    fn sign_claims(&self, claims: &Claims) -> Option<String> {
        let key = self.signs.as_ref()?;
        jsonwebtoken::encode(&Header::new(self.method), claims, key).ok()
    }

    /// Who shows this token; `None` if it is not to be believed.
    pub(crate) fn verify(&self, token: &str) -> Option<Caller> {
        // By this method and no other: a token that names its own could be signed with what is
        // public.
        let mut validation = Validation::new(self.method);
        validation.leeway = 0;
        validation.validate_aud = false;
        let told = jsonwebtoken::decode::<Claims>(token, &self.believes, &validation).ok()?;
        let Claims { username, revision, .. } = told.claims;
        Some(Caller::User { name: username.into(), revision })
    }
}

type KeyOf<K> = fn(&[u8]) -> Result<K, jsonwebtoken::errors::Error>;

#[cfg(test)]
mod tests {
    use super::*;

    fn hmac(secret: &str) -> Jwt {
        Jwt::with_keys(Algorithm::HS256, Some(secret.as_bytes()), None, TTL_DEFAULT).unwrap()
    }

    // A token is worth what its signature is worth, for as long as it says.
    #[test]
    fn tokens_are_believed_that_were_signed_and_are_not_over() {
        let jwt = hmac("secret");
        let token = jwt.sign("alice", 7).unwrap();
        let alice = Caller::User { name: "alice".into(), revision: 7 };
        assert_eq!(jwt.verify(&token), Some(alice));
        assert_eq!(hmac("other").verify(&token), None);
        let (_, signature) = token.rsplit_once('.').unwrap();
        let others = jwt.sign("root", 7).unwrap();
        let (claims, _) = others.rsplit_once('.').unwrap();
        assert_eq!(jwt.verify(&format!("{claims}.{signature}")), None, "another's signature");
        let over = Claims { username: "alice".into(), revision: 7, exp: 1_700_000_000 };
        assert_eq!(jwt.verify(&jwt.sign_claims(&over).unwrap()), None, "it was over in 2023");
    }

    fn new_keys(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        (pair.serialize_pem(), pair.public_key_pem())
    }

    // Every kind of method with two keys, and no other method's tokens.
    #[test]
    fn methods_with_two_keys_sign_with_one_and_believe_with_the_other() {
        let rsa = new_keys(&rcgen::PKCS_RSA_SHA256);
        let methods = [
            (Algorithm::EdDSA, new_keys(&rcgen::PKCS_ED25519)),
            (Algorithm::ES256, new_keys(&rcgen::PKCS_ECDSA_P256_SHA256)),
            (Algorithm::RS256, rsa.clone()),
            (Algorithm::PS384, rsa.clone()),
        ];
        let all = methods.map(|(method, (private, public))| {
            let keys = (Some(private.as_bytes()), Some(public.as_bytes()));
            let both = Jwt::with_keys(method, keys.0, keys.1, TTL_DEFAULT).unwrap();
            let believer = Jwt::with_keys(method, None, keys.1, TTL_DEFAULT).unwrap();
            assert!(believer.sign("alice", 7).is_none(), "{method:?}: it cannot sign");
            let token = both.sign("alice", 7).unwrap();
            assert!(believer.verify(&token).is_some(), "{method:?}");
            (believer, token)
        });
        for (at, (believer, _)) in all.iter().enumerate() {
            for (other, (_, token)) in all.iter().enumerate() {
                assert_eq!(believer.verify(token).is_some(), at == other, "{other} at {at}");
            }
        }
        // What is public must not do as a secret.
        let public = rsa.1.as_bytes();
        let forger = Jwt::with_keys(Algorithm::HS256, Some(public), None, TTL_DEFAULT).unwrap();
        assert!(all[2].0.verify(&forger.sign("root", 7).unwrap()).is_none());
    }

    // Who wrote the words wants to know what is wrong with them.
    #[test]
    fn words_that_make_no_sense_are_refused() {
        for (words, part) in [
            ("", "method"),
            ("sign-method=none", "method"),
            ("sign-method=RS256", "pub-key"),
            ("sign-method=HS256", "priv-key"),
            ("sign-method=HS256,priv-key=/nowhere", "/nowhere"),
            ("sign-method=HS256,sign-method=HS256", "twice"),
            ("sign-method=HS256,colour=red", "colour"),
            ("sign-method=HS256,ttl=soon", "soon"),
        ] {
            let refused = Jwt::new(words).unwrap_err();
            assert!(refused.contains(part), "{words}: {refused}");
        }
    }
}
