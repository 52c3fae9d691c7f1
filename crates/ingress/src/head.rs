//! A request's head as it came over the wire, looked at before any HTTP library reads it.
//!
//! The library is lenient where a proxy in front of us might read differently: it takes bare line feeds,
//! a length beside a transfer encoding, equal lengths twice, no host. Two readers who disagree about where
//! a request ends let a sender hide one request inside another, so all of that is refused here. What this
//! module passes over (an odd method, a control character in a value, too many headers) the library
//! refuses itself.

/// Where a head ends and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// This many bytes; 0 for none.
    Length(u64),
    /// Chunks. We do not look for their end: such a request is the last of its connection.
    Chunked,
}

/// Why a head is refused with 400, each an ambiguity that two readers may resolve differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a line feed without a carriage return")]
    BareLineFeed,
    #[error("a carriage return without a line feed")]
    BareCarriageReturn,
    #[error("a zero byte")]
    Nul,
    #[error("an empty line where a request should begin")]
    EmptyStart,
    #[error("a header folded over two lines")]
    FoldedHeader,
    #[error("a header without a plain name and a colon")]
    HeaderName,
    #[error("no host, or several")]
    Host,
    #[error("several content lengths, or one that is no number")]
    Length,
    #[error("a transfer encoding other than one `chunked`")]
    Encoding,
    #[error("a content length beside a transfer encoding")]
    LengthAndEncoding,
}

/// The length of the head in bytes, its last empty line included; `None` while it is incomplete.
/// The first `already` bytes were looked at before, without finding anything.
pub(crate) fn end(bytes: &[u8], already: usize) -> Result<Option<usize>, Malformed> {
    for at in already..bytes.len() {
        let after_return = at > 0 && bytes[at - 1] == b'\r';
        match bytes[at] {
            b'\n' if !after_return => return Err(Malformed::BareLineFeed),
            b'\n' if at == 1 => return Err(Malformed::EmptyStart),
            b'\n' if bytes[..at].ends_with(b"\r\n\r") => return Ok(Some(at + 1)),
            b'\n' => {}
            0 => return Err(Malformed::Nul),
            _ if after_return => return Err(Malformed::BareCarriageReturn),
            _ => {}
        }
    }
    Ok(None)
}

/// What follows a complete head, or why it is refused.
pub(crate) fn body(head: &[u8]) -> Result<Body, Malformed> {
    let (mut hosts, mut length, mut encoding) = (0, None, None);
    // The request line comes first and is the library's to judge; the last line is empty.
    let lines =
        head.split(|&byte| byte == b'\n').skip(1).map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = header(line)?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let read = number(value).filter(|_| length.is_none()).ok_or(Malformed::Length)?;
            length = Some(read);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let plain = encoding.is_none() && value.eq_ignore_ascii_case(b"chunked");
            encoding = plain.then_some(Body::Chunked);
            encoding.ok_or(Malformed::Encoding)?;
        }
    }
    match (hosts, length, encoding) {
        (_, Some(_), Some(_)) => Err(Malformed::LengthAndEncoding),
        (1, length, None) => Ok(Body::Length(length.unwrap_or(0))),
        (1, None, Some(chunked)) => Ok(chunked),
        _ => Err(Malformed::Host),
    }
}

fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    if matches!(line[0], b' ' | b'\t') {
        return Err(Malformed::FoldedHeader);
    }
    let colon = line.iter().position(|&byte| byte == b':').ok_or(Malformed::HeaderName)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_graphic()) {
        return Err(Malformed::HeaderName);
    }
    Ok((name, value.trim_ascii()))
}

/// Digits only: no sign, no list, nothing beyond 19 digits.
fn number(value: &[u8]) -> Option<u64> {
    let plain = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &[u8]) -> Result<Option<Body>, Malformed> {
        match end(head, 0)? {
            Some(length) => body(&head[..length]).map(Some),
            None => Ok(None),
        }
    }

    fn with(lines: &str) -> Result<Option<Body>, Malformed> {
        read(format!("POST /p HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes())
    }

    #[test]
    fn an_ordinary_head_says_what_follows() {
        assert_eq!(with(""), Ok(Some(Body::Length(0))));
        assert_eq!(with("Content-Length: 0\r\n"), Ok(Some(Body::Length(0))));
        assert_eq!(with("x: y\r\ncontent-LENGTH:\t17 \r\n"), Ok(Some(Body::Length(17))));
        assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Some(Body::Chunked)));
        assert_eq!(with("x: caf\u{e9}: d\r\nempty:\r\n"), Ok(Some(Body::Length(0))));
    }

    #[test]
    fn a_head_ends_at_its_empty_line_wherever_it_was_cut() {
        let bytes = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST /q";
        let whole = bytes.len() - b"abcPOST /q".len();
        for cut in 0..=bytes.len() {
            let expected = (cut >= whole).then_some(whole);
            assert_eq!(end(&bytes[..cut], 0), Ok(expected), "{cut}");
            if expected.is_none() {
                assert_eq!(end(bytes, cut), Ok(Some(whole)), "resumed at {cut}");
            }
        }
    }

    #[test]
    fn two_readings_of_where_the_body_ends_are_none() {
        for (lines, why) in [
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", Malformed::LengthAndEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", Malformed::LengthAndEncoding),
            ("Content-Length: 3\r\nContent-Length: 4\r\n", Malformed::Length),
            ("Content-Length: 3\r\ncontent-length: 3\r\n", Malformed::Length),
            ("Content-Length: 3, 3\r\n", Malformed::Length),
            ("Content-Length: +3\r\n", Malformed::Length),
            ("Content-Length: 0x3\r\n", Malformed::Length),
            ("Content-Length: -1\r\n", Malformed::Length),
            ("Content-Length:\r\n", Malformed::Length),
            ("Content-Length: 99999999999999999999\r\n", Malformed::Length),
            ("Transfer-Encoding: xchunked\r\n", Malformed::Encoding),
            ("Transfer-Encoding: chunked, identity\r\n", Malformed::Encoding),
            ("Transfer-Encoding: gzip, chunked\r\n", Malformed::Encoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Malformed::Encoding),
            ("Transfer-Encoding:\r\n", Malformed::Encoding),
            ("Transfer-Encoding : chunked\r\n", Malformed::HeaderName),
            ("Transfer-Encoding\r\n", Malformed::HeaderName),
            (": x\r\n", Malformed::HeaderName),
            ("x: y\r\n folded\r\n", Malformed::FoldedHeader),
            ("\tx: y\r\n", Malformed::FoldedHeader),
            ("Host: b\r\n", Malformed::Host),
        ] {
            assert_eq!(with(lines), Err(why), "{lines:?}");
        }
        assert_eq!(read(b"POST /p HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), Err(Malformed::Host));
    }

    #[test]
    fn odd_line_ends_are_refused_as_soon_as_they_are_seen() {
        for (head, why) in [
            (b"POST /p HTTP/1.1\nHost: a\n\n".as_slice(), Malformed::BareLineFeed),
            (b"POST /p HTTP/1.1\r\nHost: a\n", Malformed::BareLineFeed),
            (b"\n", Malformed::BareLineFeed),
            (b"POST /p HTTP/1.1\rHost", Malformed::BareCarriageReturn),
            (b"POST /p HTTP/1.1\r\r\n", Malformed::BareCarriageReturn),
            (b"POST /p HTTP/1.1\r\nHost: a\r\n\rx", Malformed::BareCarriageReturn),
            (b"\r\n", Malformed::EmptyStart),
            (b"POST /p\0", Malformed::Nul),
        ] {
            assert_eq!(read(head), Err(why), "{head:?}");
        }
    }
}
