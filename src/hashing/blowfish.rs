//! bcrypt's Blowfish states, several side by side: pure, safe, allocation-free.
//!
//! One state is a chain of rounds that each wait for the last, which leaves most of a core idle. [`advance`] takes the
//! same round of up to [`LANES_MAX`] independent states before any state's next, so that their waits overlap. The work is
//! cut into bcrypt's own rounds (one expansion by the key, one by the salt; 2^cost of them to a hash), so a caller may
//! stop after any of them, and states of any cost and any progress can share a call.

#![cfg_attr(coverage, coverage(off))]
#![expect(
    clippy::indexing_slicing,
    reason = "every index is a byte, a lane or a constant under the array's length: the compiler drops the checks"
)]
#![expect(clippy::inline_always, reason = "the rounds must be unrolled into one block for N lanes to overlap")]

mod tables;

use std::array;

use zeroize::Zeroize;

use tables::PI;

/// Most states that [`advance`] interleaves: past 8, the states no longer fit a core's first-level cache.
pub const LANES_MAX: usize = 8;

/// A salt, decoded.
pub type Salt = [u8; 16];

/// A finished hash, decoded: 23 of the 24 bytes, because bcrypt has always left out the last.
pub type Digest = [u8; 23];

/// 18 subkeys.
const SUBKEYS: usize = 18;

/// The subkeys, then four boxes of 256 words.
const WORDS: usize = SUBKEYS + 4 * 256;

/// 72: the key is cycled over 18 words of 4 bytes, and bcrypt reads no further.
const KEY_MAX: usize = 4 * SUBKEYS;

/// The state of one hash between its rounds; it does not count them. Zeroized on drop.
///
/// Subkeys and boxes are one array, because the key schedule rewrites them as one run of words.
pub struct State {
    words: [u32; WORDS],
    key: [u32; SUBKEYS],
    salt: [u32; SUBKEYS],
    /// The half-block that a round does not change. It is here and not in a local variable, so that the registers are
    /// left to the other half of every lane.
    right: u32,
}

impl State {
    /// A state that belongs to no hash.
    #[must_use]
    pub const fn idle() -> Self {
        Self { words: [0; WORDS], key: [0; SUBKEYS], salt: [0; SUBKEYS], right: 0 }
    }

    /// Begins a hash: everything up to the rounds, for about half the time of one.
    ///
    /// `password` goes in as it is, without its closing NUL; bytes past the 72nd do not count.
    pub fn start(&mut self, password: &[u8], salt: &Salt) {
        self.words = PI;
        cycle(&mut self.key, password.iter().take(KEY_MAX).chain([&0]));
        cycle(&mut self.salt, salt.iter());
        xor(&mut self.words, &self.key);
        let mut block = [0, 0];
        for i in 0..WORDS / 2 {
            // The salt is 4 words: even blocks take the first two, odd blocks the last two.
            let at = i % 2 * 2;
            block = self.encrypt([block[0] ^ self.salt[at], block[1] ^ self.salt[at + 1]]);
            [self.words[2 * i], self.words[2 * i + 1]] = block;
        }
    }

    /// The hash, after all its rounds. The state can go on from there. The caller zeroizes it when it is not needed any
    /// more.
    pub fn digest(&mut self) -> Digest {
        let mut text = *b"OrpheanBeholderScryDoubt";
        for bytes in text.as_chunks_mut::<8>().0 {
            let whole = u64::from_be_bytes(*bytes);
            let mut block = [(whole >> 32) as u32, (whole & 0xffff_ffff) as u32];
            for _ in 0..64 {
                block = self.encrypt(block);
            }
            *bytes = (u64::from(block[0]) << 32 | u64::from(block[1])).to_be_bytes();
        }
        array::from_fn(|i| text[i])
    }

    /// Moves `other` here, and clears it there. A plain move could leave a copy on the stack.
    pub fn replace(&mut self, other: &mut Self) {
        self.words.copy_from_slice(&other.words);
        self.key.copy_from_slice(&other.key);
        self.salt.copy_from_slice(&other.salt);
        other.zeroize();
    }

    fn encrypt(&mut self, [l, r]: [u32; 2]) -> [u32; 2] {
        let ([l], [r]) = encrypt(array::from_mut(self), [l], [r]);
        [l, r]
    }
}

impl Zeroize for State {
    fn zeroize(&mut self) {
        self.words.zeroize();
        self.key.zeroize();
        self.salt.zeroize();
        self.right.zeroize();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.zeroize();
    }
}

/// Takes every state through `rounds` rounds. The fewer the states, the sooner it returns: on an idle core, six take
/// 1.6 times as long as one alone.
pub fn advance(states: &mut [State], rounds: u32) {
    for group in states.chunks_mut(LANES_MAX) {
        match group.len() {
            1 => advance_exactly::<1>(group, rounds),
            2 => advance_exactly::<2>(group, rounds),
            3 => advance_exactly::<3>(group, rounds),
            4 => advance_exactly::<4>(group, rounds),
            5 => advance_exactly::<5>(group, rounds),
            6 => advance_exactly::<6>(group, rounds),
            7 => advance_exactly::<7>(group, rounds),
            _ => advance_exactly::<8>(group, rounds),
        }
    }
}

fn advance_exactly<const N: usize>(states: &mut [State], rounds: u32) {
    let Some(states) = states.first_chunk_mut::<N>() else { return };
    for _ in 0..rounds {
        for state in states.iter_mut() {
            xor(&mut state.words, &state.key);
        }
        rewrite(states);
        for state in states.iter_mut() {
            xor(&mut state.words, &state.salt);
        }
        rewrite(states);
    }
}

/// Replaces every word of every state, two at a time, by the next encrypted block.
#[inline(never)] // One copy for key and salt: two would compete for the core's cache of decoded instructions.
fn rewrite<const N: usize>(states: &mut [State; N]) {
    let (mut l, mut r) = ([0; N], [0; N]);
    for i in 0..WORDS / 2 {
        (l, r) = encrypt(states, l, r);
        for lane in 0..N {
            states[lane].words[2 * i] = l[lane];
            states[lane].words[2 * i + 1] = r[lane];
        }
    }
}

/// Encrypts one block per lane. With few lanes, the length of the chain limits the speed; with many, the number of
/// instructions.
#[inline(always)]
fn encrypt<const N: usize>(states: &mut [State; N], l: [u32; N], r: [u32; N]) -> ([u32; N], [u32; N]) {
    if N < 5 { encrypt_few(states, l, r) } else { encrypt_many(states, l, r) }
}

#[inline(always)]
fn encrypt_few<const N: usize>(states: &[State; N], mut l: [u32; N], mut r: [u32; N]) -> ([u32; N], [u32; N]) {
    for lane in 0..N {
        l[lane] ^= states[lane].words[0];
    }
    for i in (1..SUBKEYS - 1).step_by(2) {
        for lane in 0..N {
            r[lane] = ready(r[lane] ^ states[lane].words[i]) ^ substitute(&states[lane], l[lane]);
        }
        for lane in 0..N {
            l[lane] = ready(l[lane] ^ states[lane].words[i + 1]) ^ substitute(&states[lane], r[lane]);
        }
    }
    for lane in 0..N {
        r[lane] ^= states[lane].words[SUBKEYS - 1];
    }
    (r, l)
}

/// Computes `word` early, off the chain. Without it, the compiler regroups the exclusive-ors of a round so that the
/// subkey comes last, one cycle in twelve later.
#[inline(always)]
fn ready(word: u32) -> u32 {
    std::hint::black_box(word)
}

#[inline(always)]
fn encrypt_many<const N: usize>(states: &mut [State; N], mut l: [u32; N], r: [u32; N]) -> ([u32; N], [u32; N]) {
    for lane in 0..N {
        l[lane] ^= states[lane].words[0];
        states[lane].right = r[lane] ^ states[lane].words[1];
    }
    four_rounds(states, &mut l, 2);
    four_rounds(states, &mut l, 6);
    four_rounds(states, &mut l, 10);
    four_rounds(states, &mut l, 14);
    (array::from_fn(|lane| states[lane].right), l)
}

/// Four rounds of every lane, beginning with `subkey`. Unrolled by hand: a loop costs a twentieth.
#[inline(always)]
fn four_rounds<const N: usize>(states: &mut [State; N], l: &mut [u32; N], subkey: usize) {
    round(states, l, subkey);
    round(states, l, subkey + 1);
    round(states, l, subkey + 2);
    round(states, l, subkey + 3);
}

/// One round of every lane. The half that it does not change is combined with its next subkey on the way to memory. On
/// the way back, the subkey would lengthen the chain.
#[inline(always)]
fn round<const N: usize>(states: &mut [State; N], l: &mut [u32; N], subkey: usize) {
    for (state, l) in states.iter_mut().zip(l) {
        let next = substitute(state, *l) ^ state.right;
        state.right = *l ^ state.words[subkey];
        *l = next;
    }
}

/// Blowfish's function F: a word's four bytes, each through its own box.
#[inline(always)]
fn substitute(state: &State, word: u32) -> u32 {
    let [d, c, b, a] = word.to_le_bytes().map(usize::from);
    let of = |digit: usize, byte: usize| state.words[SUBKEYS + 256 * digit + byte];
    (of(0, a).wrapping_add(of(1, b)) ^ of(2, c)).wrapping_add(of(3, d))
}

/// Fills `words` with `bytes`, most significant first, over and over.
fn cycle<'a>(words: &mut [u32; SUBKEYS], bytes: impl Iterator<Item = &'a u8> + Clone) {
    let mut bytes = bytes.cycle();
    for word in words {
        *word = bytes.by_ref().take(4).fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
}

/// Mixes the key or the salt into the subkeys.
fn xor(words: &mut [u32; WORDS], schedule: &[u32; SUBKEYS]) {
    for (subkey, word) in words.iter_mut().zip(schedule) {
        *subkey ^= word;
    }
}
