//! Rust source as far as the rules need it: words and signs without comments, and the paths among them.

/// A word, a sign, or the text of a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub line: usize,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Word(String),
    /// The content, escapes as written.
    Text(String),
    Sign(char),
}

impl Token {
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            Kind::Text(_) | Kind::Sign(_) => None,
        }
    }

    pub fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// A path that leads out of its module: its segments from the crate's root on.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference {
    pub line: usize,
    pub path: Vec<String>,
}

/// Everything of `source` but comments, spaces and lifetimes.
pub fn tokens(source: &str) -> Vec<Token> {
    let mut reader = Reader { chars: source.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(c) = reader.peek(0) {
        let line = reader.line;
        if let Some(kind) = reader.token(c) {
            tokens.push(Token { line, kind });
        }
    }
    tokens
}

/// All paths in `tokens` that begin with `crate`, `self` or `super`, with `use` trees spelt out, as seen from `module`
/// (its segments from the root on). Inline modules count as one more level.
pub fn references(tokens: &[Token], module: &[String]) -> Vec<Reference> {
    let mut references = Vec::new();
    let mut module = module.to_vec();
    let mut depth: isize = 0;
    let mut inline = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.word() {
            Some("mod") if tokens.get(at + 2).is_some_and(|t| t.is_sign('{')) => {
                module.extend(tokens.get(at + 1).and_then(Token::word).map(str::to_owned));
                depth += 1;
                inline.push(depth);
                at += 3;
                continue;
            }
            Some("crate" | "self" | "super") if !follows_path(tokens, at) && opens_path(tokens, at) => {
                at = read_tree(tokens, at, &[], &module, &mut references);
                continue;
            }
            Some("use") => {
                at = read_tree(tokens, at + 1, &[], &module, &mut references);
                continue;
            }
            _ if token.is_sign('{') => depth += 1,
            _ if token.is_sign('}') => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                    module.pop();
                }
                depth -= 1;
            }
            _ => {}
        }
        at += 1;
    }
    references
}

/// The lines that `#[cfg(test)] mod … { … }` takes.
pub fn test_lines(tokens: &[Token]) -> usize {
    const HEAD: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let starts = (0..tokens.len()).filter(|&at| {
        tokens
            .get(at..at + HEAD.len())
            .is_some_and(|head| head.iter().zip(HEAD).all(|(t, want)| t.reads(want)))
    });
    starts.map(|at| closing_line(&tokens[at..]).map_or(0, |end| end - tokens[at].line + 1)).sum()
}

impl Token {
    fn reads(&self, text: &str) -> bool {
        match &self.kind {
            Kind::Word(word) => word == text,
            Kind::Sign(sign) => text.chars().eq([*sign]),
            Kind::Text(_) => false,
        }
    }
}

fn closing_line(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for token in tokens {
        match token.kind {
            Kind::Sign('{') => depth += 1,
            Kind::Sign('}') if depth == 1 => return Some(token.line),
            Kind::Sign('}') => depth -= 1,
            // `mod tests;`
            Kind::Sign(';') if depth == 0 => return None,
            Kind::Word(_) | Kind::Text(_) | Kind::Sign(_) => {}
        }
    }
    None
}

/// Whether `::` stands before the word at `at`, as in `a::self`.
fn follows_path(tokens: &[Token], at: usize) -> bool {
    at.checked_sub(2).is_some_and(|before| is_separator(tokens, before))
}

/// Whether `::` stands behind the word at `at`; not so in `pub(crate)` and `self.field`.
fn opens_path(tokens: &[Token], at: usize) -> bool {
    is_separator(tokens, at + 1)
}

fn is_separator(tokens: &[Token], at: usize) -> bool {
    tokens.get(at..at + 2).is_some_and(|pair| pair.iter().all(|t| t.is_sign(':')))
}

/// Reads one path, or one tree of a `use`, that stands at `at` behind `prefix`; the index behind it.
fn read_tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    module: &[String],
    references: &mut Vec<Reference>,
) -> usize {
    let mut path = prefix.to_vec();
    let mut line = tokens.get(at).map_or(0, |t| t.line);
    // The `::` of an absolute path.
    if is_separator(tokens, at) {
        at += 2;
    }
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Word(word) => path.push(word.clone()),
            Kind::Sign('*') => path.push("*".to_owned()),
            Kind::Sign('{') => {
                at += 1;
                while tokens.get(at).is_some_and(|t| !t.is_sign('}')) {
                    at = read_tree(tokens, at, &path, module, references);
                    at += usize::from(tokens.get(at).is_some_and(|t| t.is_sign(',')));
                }
                return at + 1;
            }
            Kind::Text(_) | Kind::Sign(_) => break,
        }
        line = token.line;
        at += 1;
        // `collect::<Vec<_>>` ends a path.
        if !is_separator(tokens, at) || tokens.get(at + 2).is_some_and(|t| t.is_sign('<')) {
            break;
        }
        at += 2;
    }
    references.extend(resolve(&path, module).map(|path| Reference { line, path }));
    // `as name` is a part of the tree; a sign that no path holds must not stop the reader.
    if tokens.get(at).is_some_and(|t| t.word() == Some("as")) {
        return at + 2;
    }
    let stuck = path.len() == prefix.len()
        && tokens.get(at).is_some_and(|t| !t.is_sign(',') && !t.is_sign('}') && !t.is_sign(';'));
    at + usize::from(stuck)
}

/// `path` from the root on; none for what does not begin there, above or here, such as another crate's.
fn resolve(path: &[String], module: &[String]) -> Option<Vec<String>> {
    let mut segments = path.iter().map(String::as_str).peekable();
    let mut base = module.to_vec();
    match segments.next()? {
        "crate" => base.clear(),
        "self" => {}
        "super" => drop(base.pop()),
        _ => return None,
    }
    while segments.next_if_eq(&"super").is_some() {
        base.pop();
    }
    base.extend(segments.filter(|&segment| segment != "self").map(str::to_owned));
    Some(base)
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|&c| keep(c)) {
            text.push(c);
            self.next();
        }
        text
    }

    /// Reads what begins with `first`; none for what says nothing.
    fn token(&mut self, first: char) -> Option<Kind> {
        match first {
            '/' if self.peek(1) == Some('/') => drop(self.take_while(|c| c != '\n')),
            '/' if self.peek(1) == Some('*') => self.skip_block_comment(),
            '"' => return Some(Kind::Text(self.string())),
            '\'' => return self.char_or_lifetime(),
            c if is_word(c) => return Some(self.word_or_string()),
            c => {
                self.next();
                return (!c.is_whitespace()).then_some(Kind::Sign(c));
            }
        }
        None
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while let Some(c) = self.next() {
            match (c, self.peek(0)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => continue,
            }
            self.next();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) -> String {
        let mut text = String::new();
        self.next();
        while let Some(c) = self.next() {
            match c {
                '"' => break,
                '\\' => {
                    text.push(c);
                    text.extend(self.next());
                }
                c => text.push(c),
            }
        }
        text
    }

    fn raw_string(&mut self) -> String {
        let hashes = self.take_while(|c| c == '#').len();
        let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        self.next();
        let mut text = String::new();
        while let Some(c) = self.next() {
            text.push(c);
            if text.ends_with(&end) {
                text.truncate(text.len() - end.len());
                break;
            }
        }
        text
    }

    fn char_or_lifetime(&mut self) -> Option<Kind> {
        self.next();
        match (self.peek(0)?, self.peek(1)) {
            ('\\', _) => {
                self.next();
                self.next();
                self.take_while(|c| c != '\'');
                self.next();
            }
            (_, Some('\'')) => {
                self.next();
                self.next();
            }
            _ => drop(self.take_while(is_word)),
        }
        None
    }

    fn word_or_string(&mut self) -> Kind {
        let word = self.take_while(is_word);
        match (word.as_str(), self.peek(0), self.peek(1)) {
            ("r", Some('#'), Some(c)) if is_word(c) => {
                self.next();
                Kind::Word(self.take_while(is_word))
            }
            ("r" | "br" | "cr", Some('#' | '"'), _) => Kind::Text(self.raw_string()),
            ("b" | "c", Some('"'), _) => Kind::Text(self.string()),
            _ => Kind::Word(word),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
