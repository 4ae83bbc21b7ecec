//! How long to wait before the next attempt.

use mereo::rng::rng;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use ureq::http::{HeaderMap, header};

/// Keeps the pauses apart from other uses of a seed.
const STREAM: u64 = 0x7061_7573;

/// Seconds before attempt `attempt + 1` (from 1) at the request whose first row is `row`: doubled each time up to `longest`, then
/// 0.5 to 1.5 of that, so that requests that failed together don't return together.
pub(super) fn backoff(base: f64, longest: f64, seed: u64, row: usize, attempt: usize) -> Duration {
    let doubled = base * (1u64 << attempt.saturating_sub(1).min(60)) as f64;
    let share = 0.5 + rng(seed ^ STREAM, row as u64, attempt as u64).uniform();
    Duration::from_secs_f64(doubled.min(longest) * share)
}

/// `Retry-After`: seconds, or a date. The date counts from the server's own clock if it tells it, for ours may be wrong.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let field = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let text = field(header::RETRY_AFTER)?;
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds >= 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let now = field(header::DATE).and_then(date).unwrap_or_else(now);
    Some(Duration::from_secs(date(text)?.saturating_sub(now)))
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, §5.6.7; the two old forms are sent by nobody).
pub(super) fn date(text: &str) -> Option<u64> {
    let (_, text) = text.split_once(", ")?;
    let mut parts = text.split(' ');
    let day: u64 = parts.next()?.parse().ok().filter(|d| (1..=31).contains(d))?;
    let name = parts.next()?;
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|m| *m == name)?;
    let year: u64 = parts.next()?.parse().ok().filter(|y| (1970..=9999).contains(y))?;
    let mut clock = parts.next()?.split(':').map(|n| n.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if parts.next() != Some("GMT") || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month] + u64::from(month > 1 && leap(year));
    let years: u64 = (1970..year).map(|y| 365 + u64::from(leap(y))).sum();
    Some((((years + before + day - 1) * 24 + hour) * 60 + minute) * 60 + second)
}
