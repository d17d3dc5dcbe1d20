//! Reading the Prometheus text format, as far as tests and benchmarks need it.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: BTreeMap<String, f64>,
}

/// A histogram's cumulative buckets, of all label sets together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// (upper bound, observations up to it), rising.
    pub buckets: Vec<(f64, f64)>,
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let (_, labels) = series.split_once('{')?;
    labels
        .split([',', '{', '}'])
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

impl Metrics {
    /// Reads the text of one scrape.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| {
            // A label's value may hold spaces.
            let end = line.rfind('}').map(|at| at + 1).or_else(|| line.find(' '))?;
            let (series, value) = line.split_at_checked(end)?;
            Some((series.to_owned(), value.split_whitespace().next()?.parse().ok()?))
        });
        Self { series: pairs.collect() }
    }

    /// The sum over all series of that name whose text contains every one of `labels` (such as `stream="a"`).
    pub fn sum(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let mut found = self
            .series
            .iter()
            .filter(|(series, _)| {
                name_of(series) == name && labels.iter().all(|label| series.contains(label))
            })
            .map(|(_, value)| *value)
            .peekable();
        found.peek()?;
        Some(found.sum())
    }

    /// A histogram, summed over its labels.
    pub fn histogram(&self, name: &str) -> Histogram {
        let bucket = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (series, count) in self.series.iter().filter(|(series, _)| name_of(series) == bucket) {
            let bound = match label(series, "le") {
                Some("+Inf") => f64::INFINITY,
                Some(bound) => bound.parse().unwrap_or(f64::INFINITY),
                None => continue,
            };
            match buckets.iter_mut().find(|(other, _)| other.total_cmp(&bound).is_eq()) {
                Some((_, total)) => *total += count,
                None => buckets.push((bound, *count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Histogram { buckets }
    }
}

impl Histogram {
    /// The quantile, interpolated in its bucket as Prometheus does.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.buckets.last()?.1;
        let rank = q * total;
        let mut below = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= rank && count > below.1 {
                if bound.is_infinite() {
                    return Some(below.0);
                }
                return Some(below.0 + (bound - below.0) * (rank - below.1) / (count - below.1));
            }
            below = (bound, count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x y\nup 1\nhits_total{stream=\"a b\",rendition=\"720p\"} 3\n\
        hits_total{stream=\"c\",rendition=\"720p\"} 4 1700000000\n\
        lat_bucket{le=\"0.1\"} 50\nlat_bucket{le=\"0.2\"} 100\nlat_bucket{le=\"+Inf\"} 100\n";

    #[test]
    fn series_are_summed_by_label() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.sum("up", &[]), Some(1.0));
        assert_eq!(metrics.sum("hits_total", &[]), Some(7.0));
        assert_eq!(metrics.sum("hits_total", &["stream=\"a b\""]), Some(3.0));
        assert_eq!(metrics.sum("misses_total", &[]), None);
    }

    #[test]
    fn quantiles_are_interpolated() {
        let histogram = Metrics::parse(TEXT).histogram("lat");
        assert_eq!(histogram.quantile(0.5), Some(0.1));
        assert!((histogram.quantile(0.99).unwrap() - 0.198).abs() < 1e-9);
    }
}
