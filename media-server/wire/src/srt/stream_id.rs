//! What a caller asks for, in the three grammars that are about: `publish/KEY`, `publish:KEY[:user:pass]`, and the access
//! control form `#!::r=KEY,m=publish,…` (draft-sharabayko-srt, appendix B).

/// Characters of a stream id at most (3.2.1.3).
const LONGEST: usize = 512;

/// What the caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To send a stream.
    Publish,
    /// To be sent one.
    Play,
}

/// A stream id, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamId {
    /// What is wanted.
    pub mode: Mode,
    /// The stream key of a publisher, the stream's name for a player. Never empty.
    pub resource: String,
    /// What else was said: `role`, `u` and `p` of user and password, the form's own keys.
    pub query: Vec<(String, String)>,
}

/// Why a stream id cannot be read; each text says what to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamIdError {
    /// None was sent.
    #[error("no stream id: write streamid=publish/KEY")]
    Missing,
    /// Longer than the protocol allows.
    #[error("the stream id has more than 512 characters")]
    TooLong,
    /// It names nothing.
    #[error("the stream id names no key: write streamid=publish/KEY")]
    NoResource,
    /// `m=` or the word in front is neither to publish nor to play.
    #[error("the stream id asks for neither publish nor play: write streamid=publish/KEY or play/STREAM")]
    Mode,
    /// Control characters in it.
    #[error("the stream id holds characters that no key has")]
    Characters,
}

impl Mode {
    fn named(name: &str) -> Option<Self> {
        match name {
            "publish" => Some(Self::Publish),
            "play" | "request" | "read" => Some(Self::Play),
            _ => None,
        }
    }
}

impl StreamId {
    /// Reads a stream id.
    pub fn parse(text: &str) -> Result<Self, StreamIdError> {
        if text.chars().count() > LONGEST {
            return Err(StreamIdError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(StreamIdError::Characters);
        }
        let id = match text.strip_prefix("#!::") {
            Some(form) => Self::form(form)?,
            None => Self::short(text)?,
        };
        if id.resource.is_empty() { Err(StreamIdError::NoResource) } else { Ok(id) }
    }

    fn form(form: &str) -> Result<Self, StreamIdError> {
        // Without `m`, a player (appendix B.1); whoever has a key in mind says so.
        let mut id = Self { mode: Mode::Play, resource: String::new(), query: Vec::new() };
        for pair in form.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "r" => value.clone_into(&mut id.resource),
                "m" => id.mode = Mode::named(value).ok_or(StreamIdError::Mode)?,
                _ => id.query.push((key.to_owned(), value.to_owned())),
            }
        }
        id.resource = id.take_query();
        Ok(id)
    }

    fn short(text: &str) -> Result<Self, StreamIdError> {
        if text.is_empty() {
            return Err(StreamIdError::Missing);
        }
        let (word, rest) = text.split_once(['/', ':']).ok_or(StreamIdError::Mode)?;
        let mode = Mode::named(word).ok_or(StreamIdError::Mode)?;
        let mut id = Self { mode, resource: rest.to_owned(), query: Vec::new() };
        if text.get(word.len()..).is_some_and(|tail| tail.starts_with(':')) {
            let mut parts = rest.splitn(3, ':');
            let resource = parts.next().unwrap_or_default().to_owned();
            id.query = ["u", "p"]
                .into_iter()
                .zip(parts)
                .map(|(name, part)| (name.to_owned(), part.to_owned()))
                .collect();
            id.resource = resource;
        }
        id.resource = id.take_query();
        Ok(id)
    }

    /// What stands behind a question mark, as in a URL, is a query.
    fn take_query(&mut self) -> String {
        let Some((resource, query)) = self.resource.split_once('?') else {
            return std::mem::take(&mut self.resource);
        };
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        self.query.extend(pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        }));
        resource.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Mode, String, Vec<(String, String)>) {
        let id = StreamId::parse(text).unwrap();
        (id.mode, id.resource, id.query)
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_three_grammars_mean_the_same() {
        for text in ["publish/sk_1", "publish:sk_1", "#!::r=sk_1,m=publish", "#!::m=publish,r=sk_1"] {
            assert_eq!(read(text), (Mode::Publish, "sk_1".into(), vec![]), "{text}");
        }
        assert_eq!(read("play/show"), (Mode::Play, "show".into(), vec![]));
        assert_eq!(read("#!::r=show,m=request"), (Mode::Play, "show".into(), vec![]));
    }

    #[test]
    fn what_else_is_said_is_kept() {
        assert_eq!(
            read("publish:sk_1:ann:se:cret"),
            (Mode::Publish, "sk_1".into(), pairs(&[("u", "ann"), ("p", "se:cret")]))
        );
        assert_eq!(
            read("publish/sk_1?role=backup&x=1"),
            (Mode::Publish, "sk_1".into(), pairs(&[("role", "backup"), ("x", "1")]))
        );
        assert_eq!(
            read("#!::r=sk_1,m=publish,u=ann,role=backup"),
            (Mode::Publish, "sk_1".into(), pairs(&[("u", "ann"), ("role", "backup")]))
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_with_the_remedy() {
        let error = |text: &str| StreamId::parse(text).unwrap_err();
        assert_eq!(error(""), StreamIdError::Missing);
        assert_eq!(error("sk_1"), StreamIdError::Mode);
        assert_eq!(error("watch/sk_1"), StreamIdError::Mode);
        assert_eq!(error("publish/"), StreamIdError::NoResource);
        assert_eq!(error("#!::m=publish"), StreamIdError::NoResource);
        assert_eq!(error("#!::r=a,m=bidirectional"), StreamIdError::Mode);
        assert_eq!(error("publish/a\nb"), StreamIdError::Characters);
        assert_eq!(error(&format!("publish/{}", "a".repeat(505))), StreamIdError::TooLong);
        assert!(StreamId::parse(&format!("publish/{}", "a".repeat(504))).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,600}") {
            if let Ok(id) = StreamId::parse(&text) {
                prop_assert!(!id.resource.is_empty());
            }
        }
    }
}
