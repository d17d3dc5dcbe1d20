//! What the timeline repairs, and how often.

/// One kind of repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repair {
    /// The source's clock wrapped; unrolled.
    Wrap,
    /// The source's clock jumped; the timeline goes on without the jump.
    Jump,
    /// More than 2 s of media are missing, and that time really passed; kept as a gap.
    Gap,
    /// A timestamp not behind the one before; squeezed in behind it.
    BackStep,
    /// Several units in a row had one and the same timestamp; spaced by their duration.
    Frozen,
    /// A composition offset that is negative or absurd; pts is dts.
    Composition,
    /// The video grid was moved onto the source's timestamps again, or its interval replaced.
    Rephased,
    /// The audio grid was moved in one step onto the source's timestamps.
    AudioMoved,
    /// The audio grid began to follow the source's timestamps, a sample every second frame.
    AudioSlewed,
}

impl Repair {
    /// All kinds, in the order of [`Counts`].
    pub const ALL: [Self; 9] = [
        Self::Wrap,
        Self::Jump,
        Self::Gap,
        Self::BackStep,
        Self::Frozen,
        Self::Composition,
        Self::Rephased,
        Self::AudioMoved,
        Self::AudioSlewed,
    ];

    /// A stable name, for metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wrap => "wrap",
            Self::Jump => "jump",
            Self::Gap => "gap",
            Self::BackStep => "back_step",
            Self::Frozen => "frozen",
            Self::Composition => "composition",
            Self::Rephased => "rephased",
            Self::AudioMoved => "audio_moved",
            Self::AudioSlewed => "audio_slewed",
        }
    }

    fn mask(self) -> u16 {
        1_u16.checked_shl(self as u32).unwrap_or(0)
    }
}

/// The repairs made on one unit: a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs(u16);

impl Repairs {
    pub(super) fn note(&mut self, repair: Repair) {
        self.0 |= repair.mask();
    }

    /// Nothing was repaired.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this kind was made.
    pub fn contains(self, repair: Repair) -> bool {
        self.0 & repair.mask() != 0
    }

    /// The kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = Repair> {
        Repair::ALL.into_iter().filter(move |repair| self.contains(*repair))
    }
}

/// How often each kind was made since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Repair::ALL.len()]);

impl Counts {
    pub(super) fn add(&mut self, repairs: Repairs) {
        if repairs.is_empty() {
            return;
        }
        for repair in repairs.iter() {
            if let Some(count) = self.0.get_mut(repair as usize) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// How often `repair` was made.
    pub fn get(&self, repair: Repair) -> u64 {
        self.0.get(repair as usize).copied().unwrap_or(0)
    }

    /// Every kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Repair, u64)> {
        Repair::ALL.into_iter().zip(self.0)
    }

    /// All kinds together, wraps left out: they are no fault.
    pub fn total(&self) -> u64 {
        self.iter().filter(|(repair, _)| *repair != Repair::Wrap).fold(0, |sum, (_, n)| sum.saturating_add(n))
    }
}
