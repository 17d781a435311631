//! One HTTP/1.1 message each way, read and written whole, with bounds on what a peer may send.
//!
//! A connection carries one request and one response. Bodies have a `Content-Length`; chunked ones are
//! refused, as no peer of ours sends them. Everything is synchronous and works on any `Read` and `Write`.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// The largest header section that is read, in bytes.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The largest body of a request that is read, in bytes.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// The largest body of a response that is read, in bytes: a job's status names each of its splits.
pub const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;
const MAX_HEADERS: usize = 64;

/// A request, as a job gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The path, such as `/v1/job`; a query is part of it.
    pub path: String,
    /// The body, empty if there is none.
    pub body: Vec<u8>,
}

/// A response, as a job gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The peer closed the connection before a message was complete.
    #[error("the connection was closed half-way")]
    Closed,
    /// The bytes are not HTTP/1.1 as it is spoken here.
    #[error("not a valid message: {0}")]
    Malformed(&'static str),
    /// The message is larger than is accepted.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// The part that is too large.
        what: &'static str,
        /// The largest size that is accepted.
        limit: usize,
    },
    /// The socket failed, or nothing came within its time-out.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl HttpError {
    /// Returns the response that tells the peer, unless there is no use in one.
    pub fn response(&self) -> Option<Response> {
        match self {
            Self::Malformed(_) => Some(Response::error(400, self.to_string(), None)),
            Self::TooLarge { .. } => Some(Response::error(413, self.to_string(), None)),
            Self::Closed | Self::Io(_) => None,
        }
    }
}

impl Request {
    /// Makes a request with `body` as JSON.
    pub fn json(method: &str, path: &str, body: &impl Serialize) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), body: json_bytes(body) }
    }

    /// Makes a request without a body.
    pub fn bare(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), body: Vec::new() }
    }
}

impl Response {
    /// Makes a response with `body` as JSON.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        Self { status, content_type: "application/json", body: json_bytes(body) }
    }

    /// Makes a response with text, such as metrics.
    pub fn text(status: u16, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, body: body.into_bytes() }
    }

    /// Makes a response that says why the answer is no.
    pub fn error(status: u16, error: impl Into<String>, hint: Option<String>) -> Self {
        Self::json(status, &super::ErrorBody { error: error.into(), hint })
    }

    /// Returns whether the request was carried out.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// If the body is not JSON of a `T`.
    pub fn read_json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

// The types of this module's neighbours are plain structs with string keys, which always serialise.
fn json_bytes(body: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(body).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Reads one request.
///
/// # Errors
///
/// [`HttpError`]; [`HttpError::response`] is what to tell the peer.
pub fn read_request(stream: &mut impl Read) -> Result<Request, HttpError> {
    let (head, rest) = read_head(stream)?;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    complete(parsed.parse(&head))?;
    let (Some(method), Some(path)) = (parsed.method, parsed.path) else {
        return Err(HttpError::Malformed("no method or path"));
    };
    let length = body_length(parsed.headers)?.unwrap_or(0);
    let body = read_body(stream, rest, Some(length), MAX_REQUEST_BYTES, "the request")?;
    Ok(Request { method: method.to_owned(), path: path.to_owned(), body })
}

/// Reads one response.
///
/// # Errors
///
/// [`HttpError`].
pub fn read_response(stream: &mut impl Read) -> Result<Response, HttpError> {
    let (head, rest) = read_head(stream)?;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    complete(parsed.parse(&head))?;
    let status = parsed.code.ok_or(HttpError::Malformed("no status"))?;
    let length = body_length(parsed.headers)?;
    let json = header(parsed.headers, "content-type").is_some_and(|v| v.starts_with(b"application/json"));
    let body = read_body(stream, rest, length, MAX_RESPONSE_BYTES, "the response")?;
    Ok(Response { status, content_type: if json { "application/json" } else { "text/plain" }, body })
}

/// Writes one request.
///
/// # Errors
///
/// What the socket says.
pub fn write_request(stream: &mut impl Write, request: &Request) -> io::Result<()> {
    let Request { method, path, body } = request;
    let mut message =
        format!("{method} {path} HTTP/1.1\r\nHost: pitlane\r\nConnection: close\r\n").into_bytes();
    if !body.is_empty() {
        message.extend_from_slice(b"Content-Type: application/json\r\n");
    }
    finish(stream, message, body)
}

/// Writes one response.
///
/// # Errors
///
/// What the socket says.
pub fn write_response(stream: &mut impl Write, response: &Response) -> io::Result<()> {
    let Response { status, content_type, body } = response;
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nConnection: close\r\n",
        reason(*status)
    );
    finish(stream, head.into_bytes(), body)
}

fn finish(stream: &mut impl Write, mut message: Vec<u8>, body: &[u8]) -> io::Result<()> {
    message.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    message.extend_from_slice(body);
    stream.write_all(&message)?;
    stream.flush()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        503 => "Service Unavailable",
        _ if status >= 500 => "Internal Server Error",
        _ => "Answer",
    }
}

/// Reads up to and including the blank line; what was read beyond it comes second.
fn read_head(stream: &mut impl Read) -> Result<(Vec<u8>, Vec<u8>), HttpError> {
    let mut head = Vec::with_capacity(1024);
    let mut piece = [0; 1024];
    loop {
        let read = match stream.read(&mut piece) {
            Ok(0) => return Err(HttpError::Closed),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        // The blank line may lie across two pieces.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(&piece[..read]);
        if let Some(at) = head[from..].windows(4).position(|w| w == b"\r\n\r\n") {
            let rest = head.split_off(from + at + 4);
            return Ok((head, rest));
        }
        if head.len() > MAX_HEAD_BYTES {
            return Err(HttpError::TooLarge { what: "the header section", limit: MAX_HEAD_BYTES });
        }
    }
}

fn complete(status: httparse::Result<usize>) -> Result<(), HttpError> {
    match status {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Ok(httparse::Status::Partial) => Err(HttpError::Malformed("the header section is incomplete")),
        Err(_) => Err(HttpError::Malformed("the header section is not HTTP/1.1")),
    }
}

fn header<'b>(headers: &[httparse::Header<'b>], name: &str) -> Option<&'b [u8]> {
    headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
}

fn body_length(headers: &[httparse::Header<'_>]) -> Result<Option<usize>, HttpError> {
    if header(headers, "transfer-encoding").is_some() {
        return Err(HttpError::Malformed("a body must have a Content-Length"));
    }
    let mut lengths = headers.iter().filter(|h| h.name.eq_ignore_ascii_case("content-length"));
    let Some(length) = lengths.next() else { return Ok(None) };
    if lengths.next().is_some() {
        return Err(HttpError::Malformed("two Content-Length headers"));
    }
    // Digits alone: `parse` would also take a sign.
    let digits = std::str::from_utf8(length.value).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    let length = digits.and_then(|t| t.parse().ok()).ok_or(HttpError::Malformed("a bad Content-Length"))?;
    Ok(Some(length))
}

/// Reads a body of `length` bytes, or up to the end of the stream if the length is not known.
fn read_body(
    stream: &mut impl Read,
    mut body: Vec<u8>,
    length: Option<usize>,
    limit: usize,
    what: &'static str,
) -> Result<Vec<u8>, HttpError> {
    if length.is_some_and(|length| length > limit) {
        return Err(HttpError::TooLarge { what, limit });
    }
    // One byte over the limit is enough to tell a body that is too large from one that fits.
    let wanted = length.unwrap_or(limit + 1);
    stream.take(wanted.saturating_sub(body.len()) as u64).read_to_end(&mut body)?;
    match length {
        Some(length) if body.len() < length => Err(HttpError::Closed),
        Some(length) => {
            body.truncate(length);
            Ok(body)
        }
        None if body.len() > limit => Err(HttpError::TooLarge { what, limit }),
        None => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request_of(bytes: &[u8]) -> Result<Request, HttpError> {
        read_request(&mut &*bytes)
    }

    #[test]
    fn a_message_that_ends_half_way_is_refused() {
        for bytes in [
            &b""[..],
            b"GET / HTT",
            b"GET / HTTP/1.1\r\nA: b\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
        ] {
            let error = request_of(bytes).unwrap_err();
            assert!(matches!(error, HttpError::Closed), "{error}");
        }
    }

    #[test]
    fn a_message_that_is_not_http_is_refused_with_400() {
        for bytes in [
            &b"\x16\x03\x01\x02\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na",
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        ] {
            let error = request_of(bytes).unwrap_err();
            assert_eq!(error.response().map(|r| r.status), Some(400), "{error}");
        }
    }

    #[test]
    fn a_message_beyond_the_bounds_is_refused_with_413() {
        let long_head = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &vec![b'a'; MAX_HEAD_BYTES + 2000]].concat();
        let long_body = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", MAX_REQUEST_BYTES + 1);
        for bytes in [long_head.as_slice(), long_body.as_bytes()] {
            let error = request_of(bytes).unwrap_err();
            assert_eq!(error.response().map(|r| r.status), Some(413), "{error}");
        }
    }

    #[test]
    fn a_request_and_a_response_read_back_as_written() {
        let request = Request::json("POST", "/v1/stop", &serde_json::json!({"drain": true}));
        let mut bytes = Vec::new();
        write_request(&mut bytes, &request).unwrap();
        assert_eq!(request_of(&bytes).unwrap(), request);

        let response = Response::error(409, "a savepoint is under way", Some("wait for it".to_owned()));
        let mut bytes = Vec::new();
        write_response(&mut bytes, &response).unwrap();
        assert_eq!(read_response(&mut &*bytes).unwrap(), response);
    }

    #[test]
    fn a_response_without_a_length_reads_to_the_end() {
        let response = read_response(&mut &b"HTTP/1.1 200 OK\r\n\r\nab"[..]).unwrap();
        assert_eq!((response.status, response.body.as_slice()), (200, &b"ab"[..]));
    }

    /// Gives its bytes in pieces of the given sizes.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len());
            self.0.read(&mut buffer[..length])
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = request_of(&bytes);
            let _ = read_response(&mut bytes.as_slice());
            let _ = request_of(&[b"POST / HTTP/1.1\r\n".as_slice(), &bytes].concat());
        }

        #[test]
        fn pieces_of_any_size_make_the_same_message(piece in 1usize..40, body in proptest::collection::vec(any::<u8>(), 0..99)) {
            let request = Request { method: "POST".into(), path: "/v1/savepoints".into(), body };
            let mut bytes = Vec::new();
            write_request(&mut bytes, &request).unwrap();
            prop_assert_eq!(read_request(&mut Trickle(&bytes, piece)).unwrap(), request);
        }
    }
}
