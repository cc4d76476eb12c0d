//! "Did you mean …?"

/// Longest word that is compared, in bytes.
const LONGEST: usize = 64;

/// The candidate that `word` most likely was meant to be: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name is that long, and measuring would take its time.
    if word.len() > LONGEST {
        return None;
    }
    let word: Vec<char> = word.to_lowercase().chars().collect();
    let tolerated = (word.len() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters to add, remove or replace (Levenshtein).
fn distance(word: &[char], other: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (line, c) in other.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (letter, above) in word.iter().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(*letter != c)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        let words = ["LogPrefix", "LogFilePath", "InterfacePrefix", "IpInIpMtu"];
        let rows = [
            ("LogPrefx", Some("LogPrefix")),
            ("logprefixes", Some("LogPrefix")),
            ("InterfacePrefixes", Some("InterfacePrefix")),
            ("IpIpMtu", Some("IpInIpMtu")),
            ("Foo", None),
            ("", None),
        ];
        for (word, expected) in rows {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3)] {
            assert_eq!(distance(&a.chars().collect::<Vec<_>>(), b), expected, "{a} {b}");
        }
    }
}
