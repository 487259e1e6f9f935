//! Where notices may go. Whoever sets a target makes this server send requests and reads the answers, so the server's own network is out
//! of reach unless its operator allows it; and what is reached is decided for the address that is really used, not for a name that may
//! mean another one a moment later.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The most characters of an address: each attempt to deliver keeps it.
const LONGEST: usize = 2000;

/// Where clouds hand out credentials or speak to their machines, beside link-local addresses: Azure, Amazon, Alibaba and Oracle.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Which addresses may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of the Internet.
    Public,
    /// Also private ones and this machine: the operator's decision.
    Private,
}

impl Reach {
    /// Whether notices may go there. Link-local addresses and the others at which clouds hand out credentials are nobody's to choose.
    pub fn allows(self, address: IpAddr) -> bool {
        if METADATA.contains(&address) {
            return false;
        }
        match address {
            IpAddr::V4(address) => self.allows_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(inner) => self.allows_v4(inner),
                None => self.allows_v6(address),
            },
        }
    }

    fn allows_v4(self, address: Ipv4Addr) -> bool {
        let [a, b, c, _] = address.octets();
        if address.is_link_local() || address.is_multicast() || address.is_broadcast() || a == 0 || a >= 240 {
            return false;
        }
        // Besides the private ones: carriers' (RFC 6598), protocols' (RFC 6890), benchmarks' (RFC 2544).
        let shared = (a == 100 && (64..128).contains(&b))
            || matches!([a, b, c], [192, 0, 0 | 2])
            || (a == 198 && (b == 18 || b == 19));
        self == Self::Private || !(address.is_private() || address.is_loopback() || shared)
    }

    fn allows_v6(self, address: Ipv6Addr) -> bool {
        if address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified() {
            return false;
        }
        // Translators of a site's own (RFC 8215), and what was site-local once (RFC 3879).
        let inside = matches!(address.segments(), [0x64, 0xff9b, 1, ..] | [0xfec0..=0xfeff, ..]);
        self == Self::Private || !(address.is_loopback() || address.is_unique_local() || inside)
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped, of a translator (`64:ff9b::/96`) or of 6to4 (`2002::/16`).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let [high, low] = match segments {
        [0x2002, high, low, ..] => [high, low],
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => [high, low],
        [0, 0, 0, 0, 0, 0xffff, high, low] => [high, low],
        _ => return None,
    };
    let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
    Some(Ipv4Addr::new(a, b, c, d))
}

/// The address of a target, or why it is none.
pub fn check_url(text: &str, reach: Reach) -> Result<Url, String> {
    if text.len() > LONGEST {
        return Err(format!("an address is at most {LONGEST} characters long"));
    }
    let url: Url = text.trim().parse().map_err(|_| "an address is written https://host/path".to_owned())?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err("an address is written https://host/path".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("user name and password do not belong into the address: the signature tells who sends".to_owned());
    }
    match literal(&url) {
        Some(address) if !reach.allows(address) => Err(refusal(url.host_str().unwrap_or_default())),
        _ => Ok(url),
    }
}

/// The host, when it is an address and no name.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn refusal(host: &str) -> String {
    format!(
        "{host} is in this server's own network, where no notices go; whoever runs the server may allow it with --notices-to-private"
    )
}

/// Finds the addresses of names, and leaves out those that notices may not go to.
pub(super) struct Guarded(pub Reach);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let (allowed, refused): (Vec<SocketAddr>, Vec<_>) = found.partition(|address| reach.allows(address.ip()));
            if allowed.is_empty() && !refused.is_empty() {
                return Err(refusal(name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_network_is_out_of_reach_unless_allowed() {
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::1",
        ];
        let never = [
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "250.0.0.1",
            "fe80::1",
            "ff02::1",
            "::",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ];
        for text in private {
            let address = text.parse().unwrap();
            assert!(!Reach::Public.allows(address) && Reach::Private.allows(address), "{text}");
        }
        for text in never {
            let address = text.parse().unwrap();
            assert!(!Reach::Public.allows(address) && !Reach::Private.allows(address), "{text}");
        }
        for text in ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"] {
            assert!(Reach::Public.allows(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn addresses_of_targets_are_checked() {
        let check = |text| check_url(text, Reach::Public).map(|url| url.to_string());
        assert_eq!(check(" https://chat.example.com/hook?x=1 ").as_deref(), Ok("https://chat.example.com/hook?x=1"));
        for bad in ["", "chat", "ftp://a/b", "https://ada:pw@chat.example.com/", "mailto:a@b", "file:///etc/passwd"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        // However an address is written, it is the address.
        for own in
            ["http://127.0.0.1/", "http://[::1]:80/", "http://2130706433/", "http://0x7f.1/", "http://169.254.169.254/"]
        {
            assert!(check(own).unwrap_err().contains("--notices-to-private"), "{own}");
        }
        assert!(check_url("http://127.0.0.1:9000/", Reach::Private).is_ok());
    }

    #[tokio::test]
    async fn names_of_the_own_network_are_refused_when_they_are_looked_up() {
        let lookup = async |reach| Guarded(reach).resolve("localhost".parse().unwrap()).await.map(Iterator::count);
        let refused = lookup(Reach::Public).await.unwrap_err().to_string();
        assert!(refused.contains("--notices-to-private"), "{refused}");
        assert!(lookup(Reach::Private).await.unwrap() > 0);
    }
}
