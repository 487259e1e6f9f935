//! Digests computed piece by piece, with ring's implementations: they use what the processor offers, where the plain
//! ones take several times as long on machines without SHA instructions.

use ring::digest::{Context, SHA256, SHA384, SHA512};

use crate::model::Digest;

/// A digest being computed.
#[derive(Clone)]
pub struct Hasher {
    algorithm: &'static str,
    context: Context,
}

impl Hasher {
    /// For the algorithm of digests like this one.
    pub fn like(digest: &Digest) -> Self {
        match digest.algorithm() {
            "sha384" => Self { algorithm: "sha384", context: Context::new(&SHA384) },
            "sha512" => Self { algorithm: "sha512", context: Context::new(&SHA512) },
            // `Digest` knows three algorithms; this is the third.
            _ => Self::sha256(),
        }
    }

    /// For sha256, what nearly everyone uses.
    pub fn sha256() -> Self {
        Self { algorithm: "sha256", context: Context::new(&SHA256) }
    }

    /// The algorithm's name as digests write it.
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        let text = format!("{}:{}", self.algorithm, hex::encode(self.context.finish()));
        match text.parse() {
            Ok(digest) => digest,
            Err(e) => unreachable!("a computed digest is well-formed: {e}"),
        }
    }
}

/// The digest of bytes in memory, by the algorithm of `like`.
pub fn digest_like(like: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::like(like);
    hasher.update(bytes);
    hasher.finish()
}

/// The sha256 digest of bytes in memory.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::sha256();
    hasher.update(bytes);
    hasher.finish()
}

/// More layers than this no container engine mounts.
const MOST_LAYERS: usize = 128;

/// Names of an image's layers from the lowest up to each of them (OCI image-spec, "Layer `ChainID`"), from the digests of the layers
/// uncompressed. None of more layers than engines mount: nothing is built on such an image.
pub fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    if diff_ids.len() > MOST_LAYERS {
        return Vec::new();
    }
    let mut chains: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chains.push(match chains.last() {
            None => diff_id.clone(),
            Some(below) => sha256(format!("{below} {diff_id}").as_bytes()).into(),
        });
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_published_vectors() {
        let abc256 = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let abc384 =
            "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
        let abc512 = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                      2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        for text in [abc256, abc384, abc512] {
            let digest: Digest = text.parse().expect("a digest");
            assert_eq!(digest_like(&digest, b"abc"), digest);
        }
        assert_eq!(sha256(b"abc").as_str(), abc256);
    }

    #[test]
    fn a_chain_names_the_layers_below_it_in_their_order() {
        let layers = ["sha256:aa", "sha256:bb", "sha256:cc"].map(str::to_owned);
        let chains = chain_ids(&layers);
        assert_eq!((chains.len(), chains[0].as_str()), (3, "sha256:aa"));
        assert_eq!(chains[1], sha256(b"sha256:aa sha256:bb").as_str());
        assert_eq!(chains[2], sha256(format!("{} sha256:cc", chains[1]).as_bytes()).as_str());
        assert_eq!(chain_ids(&layers[..2]), chains[..2]);
        assert!(chain_ids(&[]).is_empty());
    }

    #[test]
    fn chains_of_more_layers_than_engines_mount_have_no_names() {
        let layers: Vec<String> = (0..=MOST_LAYERS).map(|number| format!("sha256:{number:02x}")).collect();
        assert_eq!(chain_ids(&layers[..MOST_LAYERS]).len(), 128);
        assert!(chain_ids(&layers).is_empty());
    }
}
