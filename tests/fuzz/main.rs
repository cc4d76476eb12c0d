//! Bad input never panics, never hangs and never hides the rest: the fuzz targets over random and mutated input, and a
//! table of what people and their tools get wrong.

mod bad_input;
mod mutate;
mod stored;
mod targets;

use proptest::prelude::*;
use proptest::test_runner::Config;

/// `PROPTEST_CASES` asks for more.
fn at_least(cases: u32) -> Config {
    Config { cases: Config::default().cases.max(cases), failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(at_least(2_000))]

    #[test]
    fn any_bytes_as_a_selector(data: Vec<u8>) {
        targets::selector(&data);
    }

    #[test]
    fn any_words_as_a_selector(words in prop::collection::vec(prop::sample::select(mutate::SELECTOR_WORDS), 0..12)) {
        targets::selector(words.concat().as_bytes());
    }

    #[test]
    fn any_bytes_as_yaml(data: Vec<u8>) {
        targets::yaml(&data);
    }

    #[test]
    fn any_words_as_yaml(words in prop::collection::vec(prop::sample::select(mutate::YAML_WORDS), 0..40)) {
        targets::yaml(words.concat().as_bytes());
    }

    #[test]
    fn any_words_as_a_saved_text(words in prop::collection::vec(prop::sample::select(mutate::SAVED_WORDS), 0..40)) {
        targets::saved(words.concat().as_bytes());
    }
}

proptest! {
    #![proptest_config(at_least(400))]

    #[test]
    fn any_words_as_manifests(words in prop::collection::vec(prop::sample::select(mutate::YAML_WORDS), 0..40)) {
        targets::manifest(words.concat().as_bytes());
    }

    #[test]
    fn any_json_in_a_store(text in stored::entries()) {
        targets::stored(text.as_bytes());
    }

    #[test]
    fn golden_manifests_with_a_few_faults(text in mutate::golden_manifests()) {
        targets::manifest(text.as_bytes());
    }
    #[test]
    fn golden_texts_with_a_few_faults(text in mutate::golden_texts()) {
        targets::saved(text.as_bytes());
    }
}
