//! Lines of JSON, as they come.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::ClientError;

/// Longest line, bytes.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Lines of JSON, as they come. Dropped, the connection is closed.
#[derive(Debug)]
pub struct Lines {
    url: String,
    body: Incoming,
    buffer: BytesMut,
    /// So much of the buffer has no end of a line in it.
    searched: usize,
}

impl Lines {
    pub(super) fn new(url: String, body: Incoming) -> Lines {
        Lines { url, body, buffer: BytesMut::new(), searched: 0 }
    }

    /// The next value; none if there are no more.
    ///
    /// # Errors
    /// If the connection breaks, or a line does not read.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            let Some(line) = self.line().await? else { return Ok(None) };
            // An empty line says that the other side is still there.
            if !line.trim_ascii().is_empty() {
                let value = serde_json::from_slice(&line);
                return value.map(Some).map_err(|error| self.bad(error.to_string()));
            }
        }
    }

    /// The next line, without its end. Nothing is lost if this is dropped before it resolves.
    async fn line(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
            if let Some(at) = found {
                let line = self.buffer.split_to(self.searched + at).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(self.bad(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(source)) => {
                    return Err(ClientError::Broken { url: self.url.clone(), source });
                }
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.bad("it ends within a line".to_owned())),
            }
        }
    }

    fn bad(&self, reason: String) -> ClientError {
        ClientError::BadAnswer { url: self.url.clone(), reason }
    }
}
