//! Invisible characters: separators of lines, formats that show nothing, and the letters and symbols that are blank
//! (Unicode 16, `DerivedCoreProperties.txt`, `Default_Ignorable_Code_Point`, and a few more). Formats that are signs of their own, as
//! Arabic has them, are none.

/// Whether `c` is invisible.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether `c` ends a line or changes the direction of the text around it: U+2028, U+2029, and the embeddings, overrides and
/// isolates. Joiners and marks between letters are none: names in Persian and Hindi, and emoji, are written with them.
#[must_use]
pub fn is_directive(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}
