//! The page of metrics that a member shows: what its process takes of the machine.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wanted of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Page {
    /// Processor time of the server's process, seconds.
    pub(crate) cpu_seconds: Option<f64>,
    /// Its resident memory, bytes.
    pub(crate) resident_bytes: Option<f64>,
}

/// Reads the page of the member at `url`. What cannot be had is not there: under TLS nothing.
pub(crate) async fn page(url: &str) -> Page {
    let text = tokio::time::timeout(PATIENCE, fetch(url)).await;
    text.ok().flatten().map_or(Page::default(), |text| parse(&text))
}

async fn fetch(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let address = rest.trim_end_matches('/');
    if scheme != "http" {
        return None;
    }
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn parse(text: &str) -> Page {
    let value = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.find_map(|rest| rest.strip_prefix(' ')?.trim().parse().ok())
    };
    Page {
        cpu_seconds: value("process_cpu_seconds_total"),
        resident_bytes: value("process_resident_memory_bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Go writes large numbers with an exponent.
    #[test]
    fn numbers_are_found_as_go_and_we_write_them() {
        let text = "# HELP process_cpu_seconds_total x\nprocess_cpu_seconds_total 12.5\n\
            process_resident_memory_bytes 2.5e+07\n";
        let expected = Page { cpu_seconds: Some(12.5), resident_bytes: Some(25_000_000.0) };
        assert_eq!(parse(text), expected);
        assert_eq!(parse("HTTP/1.0 404 Not Found\r\n\r\n"), Page::default());
    }
}
